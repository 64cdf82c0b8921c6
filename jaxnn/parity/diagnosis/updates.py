"""The recorded steps of an optimizer, on some elements of every parameter."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxnn.parity.diagnosis.evidence import Evidence
from jaxnn.parity.diagnosis.measure import distance, resolution
from jaxnn.parity.diagnosis.reference.optimizers import Rule, Stretch, simulate
from jaxnn.parity.recording import Arrays

_ELEMENTS = 400
"""Of each parameter: an optimizer treats every element alike."""


@dataclass(frozen=True)
class Updates:
    """Stretches of steps, and the parameters after each of them, by PyTorch and by JAX.

    ``given``: JAX's optimizer was given PyTorch's gradients, rather than its own. ``matrices``: which elements belong
    to parameters that are no vectors.
    """

    stretches: tuple[Stretch, ...]
    reference: tuple[np.ndarray, ...]
    observed: tuple[np.ndarray, ...]
    given: bool
    matrices: np.ndarray

    @property
    def steps(self) -> list[int]:
        return [stretch.first + i for stretch in self.stretches for i in range(len(stretch.gradients))]

    @property
    def rates(self) -> list[float]:
        return [rate for stretch in self.stretches for rate in stretch.rates]

    def at_rates(self, rates: Sequence[float] | np.ndarray) -> "Updates":
        """The same steps with other learning rates."""
        rest = iter(float(rate) for rate in rates)
        stretches = (replace(s, rates=list(itertools.islice(rest, len(s.rates)))) for s in self.stretches)
        return replace(self, stretches=tuple(stretches))

    def simulated(self, rule: Rule) -> np.ndarray:
        """(step, element): what ``rule`` adds to the parameters at each step."""
        return self._differences([params for stretch in self.stretches for params in simulate(rule, stretch)])

    def observed_updates(self) -> np.ndarray:
        return self._differences(self.observed)

    def _differences(self, params: Sequence[np.ndarray]) -> np.ndarray:
        after = iter(params)
        found = []
        for stretch in self.stretches:
            values = [stretch.params, *itertools.islice(after, len(stretch.gradients))]
            found += [later - earlier for earlier, later in itertools.pairwise(values)]
        return np.stack(found)

    def rounding(self) -> float:
        """One rounding of the parameters, as a share of the largest update."""
        params, updates = np.stack(self.observed), self.observed_updates()
        return resolution(params) * float(np.abs(params).max()) / (float(np.abs(updates).max()) or 1.0)

    def follow(self, rule: Rule, *, precision: str) -> bool:
        """Whether ``rule`` is what PyTorch did, as far as its gradients are these."""
        params = [params for stretch in self.stretches for params in simulate(rule, stretch)]
        rounding = 1e-9 if precision == "float64" else 1e-4
        return not self.given or all(distance(a, b) <= rounding for a, b in zip(params, self.reference, strict=True))


def recorded(evidence: Evidence) -> Updates | None:
    """None if the history does not hold what it takes."""
    history = evidence.history
    if 1 not in history or any("learning_rate" not in arrays for arrays, _ in history.values()):
        return None
    names = [key.partition("/")[2] for key in history[1][0] if key.startswith("gradient/")]
    given = all(f"given/parameter/{name}" in arrays for _, arrays in history.values() for name in names)
    prefix = "given/parameter" if given else "parameter"
    source = 0 if given else 1  # whose gradients JAX's optimizer was given
    if not names or any(f"{prefix}/{name}" not in arrays for _, arrays in history.values() for name in names):
        return None
    start = {f"parameter/{name}": evidence.left.arrays[f"weight/{name}"] for name in names}
    chosen = {name: _elements(evidence, name, prefix) for name in names}

    def gathered(arrays: Arrays, prefix: str) -> np.ndarray:
        return np.concatenate([np.ravel(arrays[f"{prefix}/{name}"])[chosen[name]] for name in names]).astype(np.float64)

    stretches, steps = [], []
    for consecutive in _consecutive(sorted(history)):
        first = consecutive[0]
        before: Arrays = start if first == 1 else history[first - 1][source]
        stretches.append(
            Stretch(
                first=first,
                params=gathered(before, "parameter"),
                slots={} if first == 1 else _slots(before, chosen),
                gradients=[gathered(history[s][source], "gradient") for s in consecutive],
                rates=[float(history[s][0]["learning_rate"]) for s in consecutive],
                momenta=[float(history[s][0].get("momentum", np.nan)) for s in consecutive],
            )
        )
        steps += consecutive
    dimensions = [np.full(len(chosen[name]), start[f"parameter/{name}"].ndim) for name in names]
    return Updates(
        stretches=tuple(stretches),
        reference=tuple(gathered(history[s][0], "parameter") for s in steps),
        observed=tuple(gathered(history[s][1], prefix) for s in steps),
        given=given,
        matrices=np.concatenate(dimensions) > 1,
    )


def _consecutive(steps: Sequence[int]) -> Iterator[list[int]]:
    """Steps that can be simulated together: from 1 on, or after one that was recorded."""
    stretch: list[int] = []
    for step in steps:
        if step != 1 and step - 1 not in steps:
            continue
        if stretch and stretch[-1] != step - 1:
            yield stretch
            stretch = []
        stretch.append(step)
    if stretch:
        yield stretch


def _slots(arrays: Arrays, chosen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The optimizer's state, of slots that all parameters have."""
    found: dict[str, list[np.ndarray]] = {}
    for name, elements in chosen.items():
        for key, value in arrays.items():
            if key.startswith(f"state/{name}/"):
                of_elements = np.ravel(value)[elements] if value.ndim else np.full(len(elements), value)
                found.setdefault(key.rpartition("/")[2], []).append(of_elements.astype(np.float64))
    return {slot: np.concatenate(parts) for slot, parts in found.items() if len(parts) == len(chosen)}


def _elements(evidence: Evidence, name: str, prefix: str) -> np.ndarray:
    """Some evenly spread, and those that differ most in the end."""
    size = evidence.left.arrays[f"weight/{name}"].size
    if size <= _ELEMENTS:
        return np.arange(size)
    theirs, ours = evidence.history[max(evidence.history)]
    apart = np.abs(np.ravel(ours[f"{prefix}/{name}"]).astype(np.float64) - np.ravel(theirs[f"parameter/{name}"]))
    spread = np.linspace(0, size - 1, _ELEMENTS // 2).astype(int)
    return np.unique(np.concatenate([spread, np.argpartition(apart, -_ELEMENTS // 2)[-_ELEMENTS // 2 :]]))
