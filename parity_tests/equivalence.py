"""Two one-sided t-tests (TOST): whether paired measurements are the same, up to a margin that was stated beforehand.

A test of difference cannot show that two frameworks agree: with enough spread, or too few pairs, it finds nothing.
Here agreement is what has to be shown, and spread or a lack of pairs count against it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats


class Equivalence(NamedTuple):
    """The mean of the paired differences, the interval that must lie within the margin, and whether it does."""

    mean: float
    low: float
    high: float
    holds: bool


def tost(
    ours: Float[np.ndarray, " pairs"], theirs: Float[np.ndarray, " pairs"], *, margin: float, alpha: float = 0.05
) -> Equivalence:
    """Whether the mean of ``ours - theirs`` is within ±``margin`` at level ``alpha``, by the paired t-test.

    Both one-sided tests reject exactly if the interval of confidence 1 - 2 alpha lies inside the margin
    (Schuirmann 1987). Raises ValueError for fewer than two pairs, or values that are not finite.
    """
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if len(differences) < 2 or not np.isfinite(differences).all():
        raise ValueError(f"tost needs at least two pairs of finite values, but the differences are {differences}")
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    reach = stats.t.ppf(1 - alpha, len(differences) - 1) * error
    mean = float(differences.mean())
    low, high = float(mean - reach), float(mean + reach)
    return Equivalence(mean, low, high, -margin < low and high < margin)
