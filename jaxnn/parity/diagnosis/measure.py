"""How far two arrays are apart, what roundings can explain of it, and narrower number formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

UNEXPLAINED = 1e-3
"""An explanation leaves at most this share of the difference."""

_ROUNDINGS = 4
"""Roundings of the largest magnitude that may stand between a prediction and JAX's numbers, where they explain most
of the difference already."""


Choice = Callable[[np.ndarray], np.ndarray]
"""Of some examples of a batch."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary floating-point format: the significant bits, and the exponents of its normal numbers."""

    name: str
    bits: int
    smallest: int
    largest: int

    @property
    def eps(self) -> float:
        return 2.0 ** (1 - self.bits)

    def rounded(self, x: np.ndarray, *, truncated: bool = False) -> np.ndarray:
        """``x`` in this format, to the nearest, ties to even (or towards zero); too large is infinite."""
        mantissa, exponent = np.frexp(x)
        # Below the normal numbers the spacing stays that of the smallest of them.
        bits = self.bits - np.maximum(self.smallest + 1 - exponent, 0)
        scaled = np.ldexp(mantissa, bits)
        found = np.ldexp(np.trunc(scaled) if truncated else np.rint(scaled), exponent - bits)
        return np.where(np.abs(found) >= 2.0 ** (self.largest + 1), np.copysign(np.inf, found), found)


FORMATS: Mapping[str, Format] = {
    f.name: f
    for f in (
        Format(name="bfloat16", bits=8, smallest=-126, largest=127),
        Format(name="float16", bits=11, smallest=-14, largest=15),
        Format(name="tfloat32", bits=11, smallest=-126, largest=127),
        Format(name="float32", bits=24, smallest=-126, largest=127),
    )
}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Largest differences from JAX's numbers, as shares of the largest magnitude: of a prediction, of PyTorch's."""

    error: float
    before: float

    @property
    def unexplained(self) -> float:
        return self.error / self.before


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference as a share of the largest magnitude; infinite for other shapes or misplaced NaN."""
    if a.shape != b.shape or not a.size:
        return np.inf
    # Python keeps the warnings about NaN quiet only where they are expected: here.
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not finite.all():
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
            return np.inf
        a, b = a[finite], b[finite]
    if not a.size:
        return 0.0
    apart = np.abs(a - b).max()
    return float(apart / (max(np.abs(a).max(), np.abs(b).max()) or 1.0)) if np.isfinite(apart) else np.inf


def fit(predicted: np.ndarray, reference: np.ndarray, observed: np.ndarray, *, rounding: float) -> Fit | None:
    """How well ``predicted`` explains that ``observed`` is not ``reference``; None if it does not.

    It does if it leaves a thousandth of the difference, or no more than a few roundings (and much less than before).
    ``rounding``: one of them, as a share of the largest magnitude.
    """
    before = min(distance(reference, observed), 1.0)  # another shape counts as all of the magnitude
    if before <= 0:
        return None
    error = distance(predicted, observed)
    if error <= UNEXPLAINED * before or (error <= _ROUNDINGS * rounding and error <= 0.05 * before):
        return Fit(error=error, before=before)
    return None


def resolution(values: np.ndarray) -> float:
    """The spacing, at 1, of the narrowest format that holds all of ``values``."""
    found = narrowest(spread(values))
    return np.finfo(np.float64).eps if found is None else found.eps


def narrowest(values: np.ndarray) -> Format | None:
    """The narrowest format that holds all of ``values``; None: only float64 does, or none is needed to say."""
    values = values[np.isfinite(values)].astype(np.float64)
    if values.size == 0:
        return None
    return next((f for f in FORMATS.values() if f.name != "tfloat32" and holds(f, values)), None)


def holds(number_format: Format, values: np.ndarray) -> bool:
    """Whether every one of ``values`` is a number of the format."""
    return bool(np.array_equal(number_format.rounded(values), values, equal_nan=True))


def spread(values: np.ndarray, *, elements: int = 100_000) -> np.ndarray:
    """At most about so many of the values, evenly spread over the array, as float64."""
    return np.ravel(values)[:: max(1, values.size // elements)].astype(np.float64)


def few_examples(observed: np.ndarray, *others: np.ndarray, elements: int = 20_000) -> Choice:
    """A choice of examples of a batch, small enough to try many hypotheses on; the worst one is among them.

    ``others``: the reference, then whatever else is computed with (the layer's input).
    """
    reference = others[0]
    largest = max(int(np.prod(x.shape[1:])) for x in (observed, *others) if x.ndim)
    count = len(observed) if observed.ndim else 1
    keep = max(1, elements // max(largest, 1))
    if observed.ndim == 0 or keep >= count or any(len(x) != count for x in others):
        return lambda x: x
    chosen = list(range(keep))
    if reference.shape == observed.shape:
        apart = np.abs(reference.astype(np.float64) - observed).reshape(count, -1).max(axis=1)
        worst = int(np.argmax(apart))  # NaN, if there is one
        chosen = [worst, *(i for i in chosen if i != worst)][:keep]
    return lambda x: x[chosen] if np.ndim(x) and len(x) == count else x
