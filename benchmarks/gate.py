"""The gate: who does not compute what PyTorch eager computes has no speed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxnn.parity.verdict.tolerances import error, magnitude


class Observed(NamedTuple):
    """The first steps of a rival: the loss of each, and its parameters after them, in PyTorch's names and layout."""

    losses: np.ndarray
    parameters: Mapping[str, np.ndarray]


class Allowed(NamedTuple):
    """``limits``: the largest error of "loss" and of each parameter.

    ``start``: None, or the parameters before the first step; then the errors are those of the ways from there, in the
    Euclidean norm.
    """

    limits: Mapping[str, float]
    start: Mapping[str, np.ndarray] | None = None


class Agreement(NamedTuple):
    """What is furthest beyond, or nearest to, what is allowed."""

    name: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed

    def __str__(self) -> str:
        return f"{self.name} differs by {self.error:.1e}, allowed {self.allowed:.1e}"


def errors(ours: Observed, theirs: Observed, start: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """How far the losses and each parameter are apart; infinite for one that only one side has.

    The largest difference as a share of the largest magnitude; with ``start``, the norm of the difference as a share
    of the norm of the way that theirs has gone from there.
    """
    found = {"loss": error(ours.losses, theirs.losses)}
    for name in {**theirs.parameters, **ours.parameters}:
        mine, other = ours.parameters.get(name), theirs.parameters.get(name)
        if mine is None or other is None or mine.shape != other.shape:
            found[name] = np.inf
        elif start is None:
            found[name] = error(mine, other)
        else:
            way = float(np.linalg.norm(other - start[name]))
            found[name] = float(np.linalg.norm(mine - other)) / (way or 1.0)
    return found


def judge(ours: Observed, theirs: Observed, allowed: Allowed) -> Agreement:
    """The worst of all differences by its share of what is allowed; what has no limit has to be equal."""
    found = [
        Agreement(name, value, allowed.limits.get(name, 0.0))
        for name, value in errors(ours, theirs, allowed.start).items()
    ]
    return max(found, key=lambda agreement: (not agreement.ok, agreement.error / (agreement.allowed or 1e-300)))


def scale(values: np.ndarray) -> float:
    return magnitude(values) or 1.0
