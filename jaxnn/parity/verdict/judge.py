"""Two recordings compared, level by level: each tensor's error beside its tolerance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from jaxnn.errors import UserError
from jaxnn.parity.recording import Arrays, Recording, under
from jaxnn.parity.report import Entry, Level
from jaxnn.parity.verdict.tolerances import Tolerances, error, magnitude

Band = Mapping[str, np.ndarray]
"""By how much PyTorch has differed from itself up to each step, by the key of a step's array."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What every comparison of two recordings needs: ``right`` is measured against ``left``.

    ``atol`` and ``rtol``, if given, replace all tolerances: |difference| <= atol + rtol * scale.
    """

    left: Recording
    right: Recording
    tolerances: Tolerances
    atol: float | None = None
    rtol: float | None = None

    def entry(
        self, level: Level, name: str, what: str, key: str, *, theirs: str | None = None, scale: float | None = None
    ) -> Entry | None:
        """``key`` of the right recording against the same or another key of the left; None if either lacks it."""
        ours, expected = self.right.arrays.get(key), self.left.arrays.get(theirs or key)
        if ours is None or expected is None:
            return None
        return Entry(
            level=level,
            torch_name=name,
            nnx_path=self.path(name),
            what=what,
            error=error(ours, expected, scale),
            tolerance=self.tolerance(level, expected, scale),
            alone=key.startswith("alone/"),
            note="" if ours.shape == expected.shape else f"shape {ours.shape} for {expected.shape}",
        )

    def tolerance(
        self, level: Level, expected: np.ndarray, scale: float | None = None, *, step: int = 1, way: float = 0.0
    ) -> float:
        if self.atol is None and self.rtol is None:
            return self.tolerances.optimizer_at(step, way) if level == "optimizer" else getattr(self.tolerances, level)
        return (self.rtol or 0.0) + (self.atol or 0.0) / ((magnitude(expected) if scale is None else scale) or 1.0)

    def path(self, name: str) -> str:
        """The NNX module of a layer, or of the layer that owns a tensor."""
        paths = {layer.name: layer.path for layer in reversed((*self.left.layers, *self.right.layers)) if layer.path}
        return paths.get(name) or paths.get(name.rpartition(".")[0], "")


def require_same_model(left: Recording, right: Recording) -> None:
    """Raises UserError unless the recordings are of one model, mode, precision and batch."""
    for what, theirs, ours in (
        ("precision", left.precision, right.precision),
        ("mode", "training" if left.train else "evaluation", "training" if right.train else "evaluation"),
        ("length", f"{left.steps} steps", f"{right.steps} steps"),
    ):
        if theirs != ours:
            raise UserError(f"the recordings differ in {what}: {theirs} and {ours}; record both alike")
    ours, theirs = (set(recording.under("weight")) for recording in (right, left))
    optional = {key for key in ours ^ theirs if key.endswith(("bias", "num_batches_tracked"))}
    if ours ^ theirs > optional or not ours & theirs:
        only = [f"{side} alone has {', '.join(sorted(names)[:5])}" for side, names in
                (("the left", theirs - ours), ("the right", ours - theirs)) if names]  # fmt: skip
        raise UserError(f"the recordings are of different models: {'; '.join(only)}")
    for key in sorted(ours & theirs):
        shapes = [recording.arrays[f"weight/{key}"].shape for recording in (left, right)]
        if shapes[0] != shapes[1]:
            raise UserError(f"the recordings are of different models: {key} has shape {shapes[0]} and {shapes[1]}")
    for key in ("inputs", "targets"):
        if not np.array_equal(left.arrays[key], right.arrays[key]):
            raise UserError(f"the recordings are of different batches: their {key} differ; record both on one batch")


def first_pass(judge: Judge) -> Iterator[Entry]:
    """The entries of the weights, the forward pass, the loss and the gradients, in the order of computation."""
    left = judge.left
    yield from _weights(judge)
    found: list[Entry | None] = []
    for prefix in ("alone", "forward"):
        for layer in left.layers:
            for what in ("input", "output"):
                key = f"{layer.name}/{what}"
                found.append(judge.entry("forward", layer.name, what, f"{prefix}/{key}", theirs=f"forward/{key}"))
        key = "alone/outputs" if prefix == "alone" else "outputs"
        found.append(judge.entry("forward", "outputs", "output", key, theirs="outputs"))
    found.append(_whole_pass(judge))
    found += [judge.entry("buffers", key, "buffer", f"buffer/{key}") for key in left.under("buffer")]
    found.append(judge.entry("loss", "loss", "loss", "loss"))
    gradients = left.under("gradient")
    scale = max((magnitude(value) for key, value in gradients.items() if key != "inputs"), default=0.0)
    for layer in reversed(left.layers):
        found.append(judge.entry("gradients", layer.name, "gradient of output", f"backward/{layer.name}"))
        for key in gradients:
            if key.rpartition(".")[0] == layer.name:
                found.append(judge.entry("gradients", key, "gradient", f"gradient/{key}", scale=scale))
    named = {entry.torch_name for entry in found if entry is not None and entry.level == "gradients"}
    rest = [key for key in gradients if key not in named and key != "inputs"]
    found += [judge.entry("gradients", key, "gradient", f"gradient/{key}", scale=scale) for key in rest]
    found.append(judge.entry("gradients", "inputs", "gradient", "gradient/inputs"))
    yield from (entry for entry in found if entry is not None)


def _whole_pass(judge: Judge) -> Entry | None:
    """That there is one: without it neither loss nor gradients nor training can be compared."""
    if not judge.right.failure:
        return None
    tolerance = judge.tolerances.forward
    return Entry(level="forward", torch_name="outputs", nnx_path="", what="whole pass", error=np.inf,
                 tolerance=tolerance, note=judge.right.failure)  # fmt: skip


def _weights(judge: Judge) -> Iterator[Entry]:
    """Both sides start from the same weights: to be said only where they do not."""
    theirs, ours = judge.left.under("weight"), judge.right.under("weight")
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        if key.endswith("num_batches_tracked") and key not in ours:
            continue  # Flax does not count them
        if key in theirs and key in ours:
            found, note = error(ours[key], theirs[key]), "the runs start from other weights"
        else:
            found, note = np.inf, f"{'NNX' if key in theirs else 'PyTorch'} has no {key.rpartition('.')[2]} here"
        if found > 0:
            path = judge.path(key)
            yield Entry(
                level="weights", torch_name=key, nnx_path=path, what="value", error=found, tolerance=0.0, note=note
            )


@dataclass
class Steps:
    """Training, compared step by step as it goes on: nothing is kept but errors, and the arrays around a failure.

    ``history``: step -> (left, right) for the first three steps, the first one beyond tolerance and the one before.
    """

    judge: Judge
    band: Band | None = None
    history: dict[int, tuple[Arrays, Arrays]] = field(default_factory=dict)
    _errors: dict[tuple[Level, str], list[float]] = field(default_factory=dict)
    _tolerances: dict[tuple[Level, str], list[float]] = field(default_factory=dict)
    _scales: dict[str, float] = field(default_factory=dict)
    _ways: dict[str, float] = field(default_factory=dict)
    _noise: set[str] | None = None
    _failed: bool = False
    _before: tuple[Arrays, Arrays] | None = None

    def add(self, step: int, left: Arrays, right: Arrays) -> None:
        """Compares step ``step``, from 1, in turn."""
        noise = _rounding_alone(left, self.judge.left.precision)
        self._noise = noise if self._noise is None else self._noise & noise
        failed = False
        for key, ours in right.items():
            level: Level = "optimizer" if key.startswith("given/") else "trajectory"
            expected = left.get(key.removeprefix("given/"))
            if expected is None or key.startswith("gradient/"):
                continue
            scale = self._scale(key, expected)
            found = error(ours, expected, scale)
            allowed = self.judge.tolerance(
                level, expected, scale, step=step, way=self._way(key, expected) / (scale or 1)
            )
            if self.band is not None and level == "trajectory" and key in self.band:
                allowed = max(allowed, BAND_FACTOR * float(self.band[key][step - 1]))
            self._errors.setdefault((level, key), []).append(found)
            self._tolerances.setdefault((level, key), []).append(allowed)
            failed |= not found <= allowed and not self._is_noise(key)
        if step <= 3:
            self.history[step] = (left, right)
        if failed and not self._failed:
            self._failed = True
            self.history[step] = (left, right)
            if self._before is not None:
                self.history[step - 1] = self._before
        self._before = (left, right)

    def notes(self) -> list[str]:
        """What PyTorch's optimizer keeps and the port's, as far as can be seen, does not."""
        left, right = self._before or ({}, {})
        slots = {key.rpartition("/")[2] for key in left if key.startswith("state/") and key not in right}
        return [
            f"the optimizer's state {slot} is not compared: the port keeps nothing by that name"
            for slot in sorted(slots)
        ]

    def entries(self) -> list[Entry]:
        """The optimizer's, then the trajectory's; those that fail come first, in the order of the steps."""
        found = [self._entry(level, key) for level, key in self._errors]
        order = {"optimizer": 0, "trajectory": 1}
        return sorted(found, key=lambda e: (order[e.level], not e.failed, e.step if e.failed else 0))

    def _scale(self, key: str, expected: np.ndarray) -> float:
        """The largest magnitude that PyTorch's tensor has had so far: what comes back to zero keeps its roundings."""
        start = self.judge.left.arrays.get(f"weight/{key.rpartition('parameter/')[2]}")
        before = self._scales.get(key, 0.0 if start is None else magnitude(start))
        self._scales[key] = max(before, magnitude(expected))
        return self._scales[key]

    def _way(self, key: str, expected: np.ndarray) -> float:
        """How far PyTorch's parameter has gone, step by step; 0 for what is no parameter, or not of the optimizer."""
        name = key.removeprefix("given/parameter/")
        if name == key:
            return 0.0
        start = self.judge.left.arrays.get(f"weight/{name}", expected)
        last = start if self._before is None else self._before[0][f"parameter/{name}"]
        self._ways[name] = self._ways.get(name, 0.0) + magnitude(expected - last)
        return self._ways[name]

    def _is_noise(self, key: str) -> bool:
        parts = key.removeprefix("given/").split("/")
        return parts[0] in ("parameter", "state") and parts[1] in (self._noise or ())

    def _entry(self, level: Level, key: str) -> Entry:
        errors, allowed = self._errors[level, key], self._tolerances[level, key]
        beyond = [not e <= t for e, t in zip(errors, allowed, strict=True)]
        at = beyond.index(True) if any(beyond) else int(np.argmax(errors))
        kind, _, rest = key.removeprefix("given/").partition("/")
        name, slot = rest.rsplit("/", 1) if kind == "state" else (rest, kind)
        noise = level == "trajectory" and self._is_noise(key)
        return Entry(
            level=level,
            torch_name=name or kind,
            nnx_path=self.judge.path(name),
            what=slot,
            step=at + 1,
            error=errors[at],
            tolerance=allowed[at],
            alone=level == "optimizer",
            advisory=noise,
            note="its gradients are rounding alone, and so are its updates" if noise else "",
            errors=tuple(errors),
            tolerances=tuple(allowed),
        )


BAND_FACTOR = 10
"""How many times PyTorch's distance from itself is still the same: a band is seen in a handful of runs, in which
fewer roundings differ than between two frameworks."""


def _rounding_alone(left: Arrays, precision: str) -> set[str]:
    """Parameters whose gradient is a rounding of zero, such as a bias in front of BatchNorm."""
    gradients = under(left, "gradient")
    sizes = {key: magnitude(value) for key, value in gradients.items()}
    smallest = 100 * np.finfo(precision).eps * max(sizes.values(), default=0.0)
    return {key for key, size in sizes.items() if size <= smallest and np.any(gradients[key])}
