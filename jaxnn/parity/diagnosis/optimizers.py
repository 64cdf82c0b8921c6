"""The optimizer: PyTorch's update simulated with one or two things changed, given the same gradients."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnn.parity.diagnosis import precision
from jaxnn.parity.diagnosis.evidence import Evidence, wide
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Finding, Hypothesis, likeliest
from jaxnn.parity.diagnosis.measure import distance
from jaxnn.parity.diagnosis.reference.optimizers import Rule, rule_of
from jaxnn.parity.diagnosis.updates import Updates, recorded
from jaxnn.parity.diagnosis.variations import Change, changes, plain_changes

_RATE_FIX = (
    "the k-th update (from 0) takes schedule(k) in optax and what the scheduler had set before the k-th step() in "
    "PyTorch: give optax the same numbers, shifted by no step"
)


def of_optimizer(evidence: Evidence) -> Finding | None:
    """Why updates differ that were made from the same gradients (or from JAX's own, where only they were recorded)."""
    rule, updates = rule_of(evidence.left.optimizer), recorded(evidence)
    if rule is None or updates is None or not updates.follow(rule, precision=evidence.left.precision):
        return _held_narrow(evidence)
    reference, observed = updates.simulated(rule), updates.observed_updates()
    place = f"optimizer ({rule.name}), step {_first_difference(updates, reference, observed)}"
    for catalogue in (_singles, _pairs):
        found = likeliest(place, catalogue(rule, updates), reference, observed, rounding=updates.rounding())
        if found is not None:
            return found
    return _held_narrow(evidence)


def _singles(rule: Rule, updates: Updates) -> Catalogue:
    for change in changes(rule, updates.matrices, _solved_decay(rule, updates)):
        yield _changed(rule, updates, (change,))
    yield _with_solved_rates(rule, updates, ())


def _pairs(rule: Rule, updates: Updates) -> Catalogue:
    few = list(plain_changes(rule, updates.matrices))
    for pair in itertools.combinations(few, 2):
        if pair[0].claim.cause != pair[1].claim.cause:
            yield _changed(rule, updates, pair)
    for change in few:
        if change.claim.cause != "learning-rate-schedule":
            yield _with_solved_rates(rule, updates, (change,))


def _changed(rule: Rule, updates: Updates, made: Sequence[Change]) -> Hypothesis:
    other = _apply(rule, made)
    return Hypothesis(claims=tuple(change.claim for change in made), predict=lambda: updates.simulated(other))


def _apply(rule: Rule, made: Sequence[Change]) -> Rule:
    options: dict[str, Any] = {}
    for change in made:
        options |= change.options
    return dataclasses.replace(rule, **options)


def _with_solved_rates(rule: Rule, updates: Updates, made: Sequence[Change]) -> Hypothesis:
    """The learning rate of each step as JAX's update has it, one number for all elements."""
    other = _apply(rule, made)
    observed = updates.observed_updates()
    rates = np.array([rate or 1.0 for rate in updates.rates])  # 0 would show no direction
    for _ in range(3):  # decay lets parameters depend on the rates before
        moved = updates.at_rates(rates).simulated(other)
        rates = rates * (observed * moved).sum(1) / np.maximum((moved**2).sum(1), 1e-300)
    rates = np.maximum(rates, 0)  # a step the other way is no rate
    claims = (*(change.claim for change in made), _rate_claim(updates, rates))
    return Hypothesis(claims=claims, predict=lambda: updates.at_rates(rates).simulated(other))


def _rate_claim(updates: Updates, solved: np.ndarray) -> Claim:
    rates = dict(zip(updates.steps, zip(updates.rates, solved, strict=True), strict=True))
    told = ", ".join(f"{ours:.6g} for {theirs:.6g} at step {step}" for step, (theirs, ours) in rates.items())
    says = f"every element moves as with another learning rate: {told}"
    if len(set(updates.rates)) > 1:
        for shift, which in ((1, "of the step after"), (-1, "of the step before")):
            pairs = [(rates[step][1], rates[step + shift][0]) for step in rates if step + shift in rates]
            if pairs and np.allclose(*np.transpose(pairs), rtol=1e-6):
                says += f", which is PyTorch's {which}"
    ratios = np.array([ours / theirs for theirs, ours in rates.values() if theirs])
    if ratios.size > 1 and np.ptp(ratios) <= 1e-6 * abs(ratios[0]):
        says += f"; {ratios[0]:.9g} times PyTorch's at every step"
    return Claim(cause="learning-rate-schedule", says=says, fix=_RATE_FIX)


def _solved_decay(rule: Rule, updates: Updates) -> float | None:
    """The weight decay that the first update has along the parameters themselves."""
    first = updates.stretches[0]
    step = updates.observed_updates()[0] - updates.simulated(rule)[0]
    squares = float((first.params**2).sum())
    if not squares or not first.rates[0]:
        return None
    return rule.weight_decay - float((step * first.params).sum()) / squares / first.rates[0]


def _first_difference(updates: Updates, reference: np.ndarray, observed: np.ndarray) -> int:
    apart = [distance(a, b) for a, b in zip(reference, observed, strict=True)]
    return next(step for step, error in zip(updates.steps, apart, strict=True) if error >= 1e-3 * max(apart))


def _held_narrow(evidence: Evidence) -> Finding | None:
    """Parameters of a narrower format than the run's, at the last recorded step."""
    if not evidence.history:
        return None
    step = max(evidence.history)
    theirs, ours = evidence.history[step]
    for key, reference in theirs.items():
        kind, _, name = key.partition("/")
        observed = ours.get(f"given/{key}", ours.get(key))
        if kind == "parameter" and observed is not None:
            place, run = f"{name} after step {step}", evidence.left.precision
            found = precision.narrow(place, wide(reference), wide(observed), precision=run)
            if found is not None:
                return found
    return None
