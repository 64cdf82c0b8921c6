"""The contract of all rivals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """A rival at the start of a case.

    ``run(steps)`` goes on by so many steps (evaluation: passes) and returns the loss of each, float (steps,), once
    *all* of the state is computed. ``parameters()``: what the gate compares, by PyTorch's names and in its layout.
    """

    run: Callable[[int], np.ndarray]
    parameters: Callable[[], Arrays]


class NotMeasurable(Exception):
    """The rival cannot run this case; the message says why."""
