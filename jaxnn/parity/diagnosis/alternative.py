"""What a port may compute in place of one of PyTorch's functions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Claim


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """``compute`` takes the function's input."""

    claim: Claim
    compute: Callable[[np.ndarray], np.ndarray]
