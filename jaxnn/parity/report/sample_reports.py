"""Made-up reports for the tests of what people look at: a fault, a long run, a null band, a deep network."""

from collections.abc import Sequence

import numpy as np

from jaxnn.parity.report import Diagnosis, Entry, Level, Report

_TORCH = {"version": "2.13.0", "threads": 2, "deterministic algorithms": True, "mkldnn": False}
_JAX = {"version": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "device": "cpu", "matmul precision": "highest"}
_ABOUT = {"precision": "float64", "train": True, "loss": "cross_entropy", "torch": _TORCH, "jax": _JAX}
_ADAM = {"name": "adam", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}

_LENET = [("conv1", "Conv2d"), ("pool", "MaxPool2d"), ("conv2", "Conv2d"), ("pool#2", "MaxPool2d")]
_LENET += [("fc1", "Linear"), ("fc2", "Linear"), ("fc3", "Linear")]
_MLP = [("hidden1", "Linear"), ("drop", "Dropout"), ("hidden2", "Linear"), ("hidden3", "Linear"), ("output", "Linear")]


def lenet_flatten_order() -> Report:
    """Every layer is right; what lies between the second pool and fc1 is not."""
    noise = _Noise(0)
    after = {"fc1", "fc2", "fc3"}
    entries = noise.carried(_LENET)
    for name, _ in _LENET:
        entries.append(noise.layer(name, "input", alone=True, error=1.31 if name == "fc1" else 0.0))
        entries.append(noise.layer(name, "output", alone=True))
        entries.append(noise.layer(name, "output", error=noise.near(0.4) if name in after else None))
    entries.append(_entry("loss", "loss", "", "loss", 0.021))
    entries += [_entry("gradients", key, _nnx(key), "gradient", noise.near(0.3)) for key in _keys(_LENET)]
    evidence = (
        "the input of fc1 agrees to 2.2e-16 once its 400 features are read as (5, 5, 16) instead of (16, 5, 5); "
        "nothing else in the forward pass differs when fed the reference's input"
    )
    fix = "transpose to (batch, channels, height, width) before flattening, or permute the rows of fc1's kernel once"
    return Report(
        title="LeNet",
        entries=tuple(entries),
        diagnoses=(Diagnosis(cause="flatten-order", evidence=evidence, fix=fix),),
        layers=_layers(_LENET),
        about=_ABOUT | {"steps": 0},
        notes=("train mode only: no layer here behaves otherwise in eval mode",),
    )


def long_run(*, steps: int = 1_000, tensors: int = 10, fault_at: int | None = None) -> Report:
    """An MLP with Adam over many steps; ``fault_at``: the step from which one tensor drifts away."""
    noise = _Noise(1)
    entries = noise.carried(_MLP) + noise.forward(_MLP)
    entries.append(_entry("loss", "loss", "", "loss", 0.0))
    entries += [_entry("gradients", key, _nnx(key), "gradient", noise.near(2e-15)) for key in _keys(_MLP)]
    names = [f"{key}" for key in _keys(_MLP)] + [f"extra.{number}.weight" for number in range(tensors)]
    for name in names[:tensors]:
        errors = noise.walk(steps, 3e-17)
        entries.append(_series("optimizer", name, "parameter", noise.walk(steps, 1e-17), [1e-11] * steps))
        if fault_at is not None and name == names[0]:
            errors[fault_at - 1 :] += 1e-13 * np.arange(1, steps - fault_at + 2) ** 1.7
        entries.append(_series("trajectory", name, "parameter", errors, [1e-12] * steps))
    loss = noise.walk(steps, 2e-18)
    loss[::7] = 0.0
    entries.append(_series("trajectory", "loss", "loss", loss, [1e-12] * steps))
    return Report(
        title="mnist-mlp",
        entries=tuple(entries),
        layers=_layers(_MLP),
        about=_ABOUT | {"optimizer": _ADAM, "steps": steps},
    )


def null_band(*, steps: int = 300) -> Report:
    """A float32 run against the spread of PyTorch with itself; one tensor leaves it, one stays above unnoticed."""
    noise = _Noise(2)
    entries = []
    for name in _keys(_LENET):
        band = 5e-4 + noise.walk(steps, 2e-5) * 4
        entries.append(_series("trajectory", name, "parameter", noise.walk(steps, 1e-5), band.tolist()))
    errors = noise.walk(steps, 1e-5)
    errors[180:] *= np.linspace(1, 300, steps - 180)
    entries[2] = _series("trajectory", "conv2.weight", "parameter", errors, list(entries[2].tolerances))
    entries.append(_entry("buffers", "bn.running_var", "bn.var", "buffer", 3e-3, advisory=True, note="float32 in flax"))
    diagnosis = Diagnosis(
        cause="learning-rate-schedule",
        evidence="the updates of every tensor agree up to step 180, and from there on stand in the ratio 0.1",
        fix="let the schedule step after the update, as torch's loop does: the rate of step n is schedule(n - 1)",
    )
    second = Diagnosis(cause="dtype", evidence="one buffer is float32 where the reference has float64", fix="cast it")
    return Report(
        title="lenet, float32",
        entries=tuple(entries),
        diagnoses=(diagnosis, second),
        layers=_layers(_LENET),
        about=_ABOUT | {"precision": "float32", "optimizer": {"name": "sgd", "lr": 0.01}, "steps": steps},
        notes=("the band: PyTorch against itself, weights moved by one ulp, one thread, sums reversed (5 runs)",),
    )


def deep_network(*, blocks: int = 14) -> Report:
    """A residual network of about 60 layers in nested modules, all of it right; names that would break a page."""
    layers = [("stem.conv", "Conv2d"), ("stem.bn", "BatchNorm2d")]
    for block in range(blocks):
        at = f"layer{1 + block // 4}.{block % 4}"
        layers += [(f"{at}.conv1", "Conv2d"), (f"{at}.bn1", "BatchNorm2d"), (f"{at}.conv2", "Conv2d")]
        layers += [(f"{at}.bn2", "BatchNorm2d")]
    layers += [("head.<script>alert(1)</script>", "Linear"), ("head.classifier_with_a_rather_long_name", "Linear")]
    noise = _Noise(3)
    gradients = [_entry("gradients", key, _nnx(key), "gradient", noise.near(3e-14)) for key in _keys(layers)]
    return Report(
        title="ResNet & <friends>",
        entries=tuple(noise.carried(layers) + noise.forward(layers) + gradients),
        layers=_layers(layers),
        about=_ABOUT | {"train": False},
    )


class _Noise:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def near(self, size: float) -> float:
        return float(size * 10 ** self._random.normal(0, 0.3))

    def walk(self, steps: int, size: float) -> np.ndarray:
        return np.abs(np.cumsum(self._random.normal(0, size, steps))) + size * self._random.random(steps)

    def layer(self, name: str, what: str, *, alone: bool = False, error: float | None = None) -> Entry:
        error = self.near(3e-16 if alone else 8e-16) if error is None else error
        return _entry("forward", name, name.partition("#")[0], what, error, alone=alone)

    def carried(self, layers: Sequence[tuple[str, str]]) -> list[Entry]:
        return [_entry("weights", key, _nnx(key), "parameter", 0.0, tolerance=0.0) for key in _keys(layers)]

    def forward(self, layers: Sequence[tuple[str, str]]) -> list[Entry]:
        return [
            entry
            for name, kind in layers
            for entry in (
                self.layer(name, "input", alone=True, error=0.0),
                self.layer(name, "output", alone=True, error=0.0 if kind in ("MaxPool2d", "Dropout") else None),
                self.layer(name, "output"),
            )
        ]


def _entry(
    level: Level,
    name: str,
    path: str,
    what: str,
    error: float,
    *,
    tolerance: float = 1e-12,
    alone: bool = False,
    advisory: bool = False,
    note: str = "",
) -> Entry:
    return Entry(
        level=level,
        torch_name=name,
        nnx_path=path,
        what=what,
        error=error,
        tolerance=tolerance,
        alone=alone,
        advisory=advisory,
        note=note,
    )


def _series(level: Level, name: str, what: str, errors: np.ndarray, tolerances: list[float]) -> Entry:
    beyond = np.flatnonzero(errors > tolerances)
    step = int(beyond[0]) if beyond.size else int(np.argmax(errors))
    worst = step if beyond.size else int(np.argmax(errors))
    return Entry(
        level=level,
        torch_name=name,
        nnx_path=_nnx(name),
        what=what,
        error=float(errors[worst]),
        tolerance=tolerances[worst],
        step=step + 1,
        errors=tuple(errors.tolist()),
        tolerances=tuple(tolerances),
    )


def _keys(layers: Sequence[tuple[str, str]]) -> list[str]:
    return [
        f"{name}.{leaf}"
        for name, kind in layers
        if kind in ("Conv2d", "Linear", "BatchNorm2d") and "#" not in name
        for leaf in ("weight", "bias")
    ]


def _nnx(key: str) -> str:
    return key.replace(".weight", ".kernel") if "." in key else ""


def _layers(layers: Sequence[tuple[str, str]]) -> tuple[dict[str, str], ...]:
    return tuple({"name": name, "kind": kind, "path": name.partition("#")[0]} for name, kind in layers)
