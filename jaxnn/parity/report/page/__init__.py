"""Self-contained HTML pages, for one report and for many, and a certificate's JSON."""

from jaxnn.parity.report.page.html import certificate as certificate
from jaxnn.parity.report.page.html import certificate_json as certificate_json
from jaxnn.parity.report.page.html import render as render
