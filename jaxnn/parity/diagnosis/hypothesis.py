"""Hypotheses: what JAX would have computed had it a certain fault, held against what it did compute.

A catalogue (affine, batchnorm, dropout, between, ...) is a function that yields hypotheses, the plainer ones first.
To extend one, yield another: a claim, and a function that predicts an array of JAX's from the reference's numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.measure import UNEXPLAINED, Fit, fit, resolution
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError
from jaxnn.parity.report import Diagnosis


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One fault: its name, what is said to be so (with measured numbers, if any), and what to change."""

    cause: str
    says: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """``predict`` gives what JAX computes if the claims, mostly one, hold; none for what is a fault elsewhere."""

    claims: tuple[Claim, ...]
    predict: Callable[[], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Claims that the numbers bear out, and the sentence that says so."""

    claims: tuple[Claim, ...]
    evidence: str

    def diagnoses(self) -> Iterator[Diagnosis]:
        for claim in self.claims:
            yield Diagnosis(cause=claim.cause, evidence=self.evidence, fix=claim.fix)


Catalogue = Iterable[Hypothesis]

_BETTER = 0.1
"""A later hypothesis leaves at most this share of what an earlier one leaves."""


def hypothesis(cause: str, says: str, fix: str, predict: Callable[[], np.ndarray]) -> Hypothesis:
    return Hypothesis(claims=(Claim(cause=cause, says=says, fix=fix),), predict=predict)


def likeliest(
    place: str, catalogue: Catalogue, reference: np.ndarray, observed: np.ndarray, *, rounding: float = 0.0
) -> Finding | None:
    """The hypothesis that leaves least of the difference between PyTorch and JAX unexplained; None if none holds.

    A later one, which may have solved for a number, must do much better than the one before; of those that explain
    the difference to roundings the first counts. ``rounding``: one, as a share of the largest magnitude, where the
    numbers of ``observed`` are computed further and do not show it themselves.
    """
    if not np.isfinite(observed).any() or (observed.size > 1 and np.ptp(observed) == 0):
        return None  # NaN, or one number throughout, comes about in too many ways
    rounding = max(resolution(observed), rounding)
    best: tuple[Hypothesis, Fit] | None = None
    for candidate in catalogue:
        found = _tested(candidate, reference, observed, rounding)
        if found is None or (best and found.unexplained > _BETTER * best[1].unexplained):
            continue
        best = candidate, found
        if found.error <= 16 * rounding and found.unexplained <= UNEXPLAINED:
            break
    return None if best is None else Finding(claims=best[0].claims, evidence=_sentence(place, *best))


def _tested(candidate: Hypothesis, reference: np.ndarray, observed: np.ndarray, rounding: float) -> Fit | None:
    try:
        return fit(candidate.predict(), reference, observed, rounding=rounding)
    except NotSimulatedError:
        return None


def _sentence(place: str, candidate: Hypothesis, found: Fit) -> str:
    said = " and ".join(claim.says for claim in candidate.claims)
    left = "to the last bit" if found.error == 0 else f"to {found.error:.0e} of the largest magnitude"
    return f"{place}: {said}: this gives JAX's numbers {left}, where PyTorch's are {found.before:.0e} away"
