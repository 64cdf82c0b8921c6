"""The gate: who does not compute what PyTorch eager computes has no speed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxnn.parity.verdict.tolerances import error, magnitude


class Observed(NamedTuple):
    """The first steps of a rival: the loss of each, and its parameters after them, in PyTorch's names and layout."""

    losses: np.ndarray
    parameters: Mapping[str, np.ndarray]


class Agreement(NamedTuple):
    """What is furthest beyond, or nearest to, what is allowed; both as a share of that tensor's largest magnitude."""

    name: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed

    def __str__(self) -> str:
        return f"{self.name} differs by {self.error:.1e}, allowed {self.allowed:.1e}"


def errors(ours: Observed, theirs: Observed) -> dict[str, float]:
    """The largest difference of the losses and of each parameter; infinite for one that only one side has."""
    found = {"loss": error(ours.losses, theirs.losses)}
    for name in {**theirs.parameters, **ours.parameters}:
        both = name in ours.parameters and name in theirs.parameters
        found[name] = error(ours.parameters[name], theirs.parameters[name]) if both else np.inf
    return found


def judge(ours: Observed, theirs: Observed, allowed: Mapping[str, float]) -> Agreement:
    """The worst of all differences by its share of what is allowed; what ``allowed`` lacks has to be equal."""
    found = [Agreement(name, value, allowed.get(name, 0.0)) for name, value in errors(ours, theirs).items()]
    return max(found, key=lambda agreement: (not agreement.ok, agreement.error / (agreement.allowed or 1e-300)))


def scale(values: np.ndarray) -> float:
    return magnitude(values) or 1.0
