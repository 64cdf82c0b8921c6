"""What a comparison found: as text for a terminal, as JSON, as a page to look at."""

from jaxnn.parity.report.report import Diagnosis as Diagnosis
from jaxnn.parity.report.report import Entry as Entry
from jaxnn.parity.report.report import Level as Level
from jaxnn.parity.report.report import ParityError as ParityError
from jaxnn.parity.report.report import Report as Report
