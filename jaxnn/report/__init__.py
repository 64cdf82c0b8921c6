"""What runs did, as one HTML page that needs no network: run directories and arrays in, a document out."""

from jaxnn.report.evidence import Evidence as Evidence
from jaxnn.report.html import render as render
from jaxnn.report.predictions import Predictions as Predictions
from jaxnn.report.predictions import probabilities as probabilities
from jaxnn.report.runs import Run as Run
from jaxnn.report.runs import Series as Series
from jaxnn.report.runs import read as read
