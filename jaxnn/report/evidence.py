"""What the newest checkpoint of a run says, beyond the run's metrics."""

from dataclasses import dataclass

import numpy as np

from jaxnn.report.filters import Filters
from jaxnn.report.predictions import Predictions


@dataclass(frozen=True)
class Evidence:
    """Each part, or the sentence that says why it is missing. ``inputs``: uint8 images or rows of the test split, as
    the model takes them. ``notes``: what a reader of the numbers should know."""

    predictions: Predictions | str
    filters: Filters | str | None
    inputs: np.ndarray | None = None
    notes: tuple[str, ...] = ()
