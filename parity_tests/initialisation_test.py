"""Freshly built layers and models have PyTorch's default initialisation, whatever stream they are drawn from.

Weights and biases are uniform within 1/sqrt(fan_in) (torch.nn.Linear, torch.nn.Conv2d), BatchNorm's are constants.
From the stream of torch.manual_seed they are torch's to the bit as well: streams_test.py.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from flax import nnx
from scipy import stats

import torchref.models
from jaxnn import models, nn, recipe, recipes
from jaxnn.interop.state_dict import state_dict
from jaxnn.nn.initializers import Rngs
from jaxnn.torch_random import TorchGenerator

State = dict[str, np.ndarray]
# The probability with which a check of one array may fail although all is well: never, for hundreds of arrays.
FALSE_ALARM = 1e-9
SEEDS = range(12)
VALUES = 2000  # of one array and seed, spread over it
STREAMS: dict[str, Callable[[int], Rngs]] = {"torch": TorchGenerator, "jax": nnx.Rngs}
CONSTANTS = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


def misfits(states: list[State]) -> list[str]:
    """What is not PyTorch's default in the state dicts of one model, one a seed."""
    return [f"{key}: {fault}" for key in states[0] if (fault := _misfit(key, states))]


def _misfit(key: str, states: list[State]) -> str | None:
    layer, _, name = key.rpartition(".")
    weight = states[0].get(f"{layer}.weight".lstrip("."))
    if weight is None or weight.ndim < 2:
        wrong = any((state[key] != CONSTANTS[name]).any() for state in states)
        return f"is not {CONSTANTS[name]}" if wrong else None
    bound = 1 / math.sqrt(math.prod(weight.shape[1:]))  # (out, in / groups, height, width): all but the first
    pooled = np.concatenate([_spread(state[key]) for state in states]).astype(np.float64) / bound
    return _not_uniform(pooled)


def _spread(array: np.ndarray) -> np.ndarray:
    return array.ravel()[:: max(array.size // VALUES, 1)]


def _not_uniform(values: np.ndarray) -> str | None:
    """How the values are not from U(-1, 1): beyond the bound, never near it, or of another distribution."""
    largest = np.abs(values).max()
    if not largest <= 1 + 2**-22:  # the bound is a float32; NaN fails too
        return f"{largest:.3f} of the bound"
    if largest < 1 + math.log(FALSE_ALARM) / len(values):  # (1 - x)^n <= exp(-n x)
        return f"only {largest:.3f} of the bound"
    p = float(stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue)
    return f"not uniform, p = {p:.1e}" if p < FALSE_ALARM else None


# title: the layer of jaxnn, the layer of torch
LAYERS: dict[str, tuple[Callable[[Rngs], nnx.Module], Callable[[], torch.nn.Module]]] = {
    "Linear": (lambda rngs: nn.Linear(50, 20, rngs=rngs), lambda: torch.nn.Linear(50, 20)),
    "Linear without bias": (
        lambda rngs: nn.Linear(7, 30, bias=False, rngs=rngs),
        lambda: torch.nn.Linear(7, 30, bias=False),
    ),
    "Conv2d": (lambda rngs: nn.Conv2d(3, 16, 5, rngs=rngs), lambda: torch.nn.Conv2d(3, 16, 5)),
    "Conv2d, 2 groups": (
        lambda rngs: nn.Conv2d(8, 12, 3, groups=2, rngs=rngs),
        lambda: torch.nn.Conv2d(8, 12, 3, groups=2),
    ),
    "Conv2d, depthwise": (
        lambda rngs: nn.Conv2d(32, 64, 3, groups=32, rngs=rngs),
        lambda: torch.nn.Conv2d(32, 64, 3, groups=32),
    ),
    "Conv2d, (1, 7), strided, dilated, padded": (
        lambda rngs: nn.Conv2d(4, 10, (1, 7), stride=2, dilation=2, padding=3, rngs=rngs),
        lambda: torch.nn.Conv2d(4, 10, (1, 7), stride=2, dilation=2, padding=3),
    ),
    "BatchNorm1d": (lambda rngs: nn.BatchNorm1d(6), lambda: torch.nn.BatchNorm1d(6)),
    "BatchNorm2d": (lambda rngs: nn.BatchNorm2d(6), lambda: torch.nn.BatchNorm2d(6)),
}


def _torch_states(build: Callable[[], torch.nn.Module]) -> Iterator[State]:
    for seed in SEEDS:
        torch.manual_seed(seed)
        yield {key: value.numpy() for key, value in build().state_dict().items()}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_start_as_torch_s(layer: str, stream: str) -> None:
    states = [state_dict(LAYERS[layer][0](STREAMS[stream](seed))) for seed in SEEDS]
    assert {key: value.shape for key, value in states[0].items()} == {
        key: value.shape for key, value in next(_torch_states(LAYERS[layer][1])).items()
    }
    assert misfits(states) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_torch_s_own_layers_pass(layer: str) -> None:
    assert misfits(list(_torch_states(LAYERS[layer][1]))) == []


def _size(name: str) -> tuple[tuple[int, ...], int]:
    """Input shape and outputs of a recipe, tables of 30 columns."""
    given = recipes.get(name).input
    return ((given.size, given.size, given.channels or 1), 10) if given.size else ((30,), 3)


@functools.cache
def _model_states(spec: recipe.Model, shape: tuple[int, ...], outputs: int, stream: str) -> list[State]:
    return [
        state_dict(models.build(spec, input_shape=shape, outputs=outputs, rngs=STREAMS[stream](seed))) for seed in SEEDS
    ]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", recipes.SMALL)
def test_models_start_as_torch_s(name: str, stream: str) -> None:
    assert misfits(_model_states(recipes.get(name).model, *_size(name), stream)) == []


@pytest.mark.parametrize("name", recipes.SMALL)
def test_torchref_s_models_pass(name: str) -> None:
    shape, outputs = _size(name)
    spec = recipes.get(name).model
    assert misfits(list(_torch_states(lambda: torchref.models.build(spec, input_shape=shape, outputs=outputs)))) == []


class _Stuck(TorchGenerator):
    """A stream that begins anew for each array."""

    def uniform(self, shape: int | tuple[int, ...], bound: float) -> np.ndarray:
        return TorchGenerator(0).uniform(shape, bound)


@pytest.mark.parametrize(("stream", "advances"), [(TorchGenerator, True), (nnx.Rngs, True), (_Stuck, False)])
def test_no_numbers_are_drawn_twice(stream: Callable[[int], Rngs], advances: bool) -> None:
    """Each array alone would look random all the same."""
    model = models.build(recipes.get("mnist-mlp").model, input_shape=(8,), outputs=64, rngs=stream(0))
    signs = [tuple(np.sign(array.ravel()[:64])) for array in state_dict(model).values()]
    assert (len(set(signs)) == len(signs)) is advances


SHAPE = (64, 8, 3, 3)  # out, in, height, width
FAN_IN, FAN_OUT = 8 * 9, 64 * 9
DRAW = np.random.default_rng(0)


def _uniform(bound: float, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return DRAW.uniform(-bound, bound, shape).astype(np.float32)


def _sound() -> State:
    return {"weight": _uniform(FAN_IN**-0.5), "bias": _uniform(FAN_IN**-0.5, (64,))}


def _norm(**changed: np.ndarray) -> State:
    return {name: np.full(6, value, np.float32) for name, value in CONSTANTS.items()} | changed


def _stock_flax() -> State:
    layer = nnx.Conv(8, 64, (3, 3), rngs=nnx.Rngs(int(DRAW.integers(2**31))))
    assert layer.bias is not None
    return {"weight": np.transpose(layer.kernel[...], (3, 2, 0, 1)), "bias": np.asarray(layer.bias[...])}


# fault: a layer that has it, and the array that must be named
FAULTS: dict[str, tuple[Callable[[], State], str]] = {
    "flax's own layer": (_stock_flax, "weight"),
    "zero bias of flax's own layer": (_stock_flax, "bias"),
    "LeCun normal": (lambda: _sound() | {"weight": DRAW.normal(0, FAN_IN**-0.5, SHAPE)}, "weight"),
    "normal of the right variance": (
        lambda: _sound() | {"weight": DRAW.normal(0, (3 * FAN_IN) ** -0.5, SHAPE)},
        "weight",
    ),
    "Xavier uniform": (lambda: _sound() | {"weight": _uniform((6 / (FAN_IN + FAN_OUT)) ** 0.5)}, "weight"),
    "He uniform": (lambda: _sound() | {"weight": _uniform((6 / FAN_IN) ** 0.5)}, "weight"),
    "fan_out for fan_in": (lambda: _sound() | {"weight": _uniform(FAN_OUT**-0.5)}, "weight"),
    "fan_in without the window": (lambda: _sound() | {"weight": _uniform(8**-0.5)}, "weight"),
    "a bound 1 % too small": (lambda: _sound() | {"weight": _uniform(0.99 * FAN_IN**-0.5)}, "weight"),
    "positive half": (lambda: _sound() | {"weight": np.abs(_uniform(FAN_IN**-0.5))}, "weight"),
    "NaN": (lambda: _sound() | {"weight": np.full(SHAPE, np.nan)}, "weight"),
    "zero bias": (lambda: _sound() | {"bias": np.zeros(64)}, "bias"),
    "bias of fan_out": (lambda: _sound() | {"bias": _uniform(64**-0.5, (64,))}, "bias"),
    "BatchNorm that starts at 0": (lambda: _norm(weight=np.zeros(6)), "weight"),
    "BatchNorm with a variance of 0": (lambda: _norm(running_var=np.zeros(6)), "running_var"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_named(fault: str) -> None:
    build, name = FAULTS[fault]
    assert any(misfit.startswith(f"{name}: ") for misfit in misfits([build() for _ in SEEDS]))


def test_sound_arrays_have_no_misfit() -> None:
    assert misfits([_sound() for _ in SEEDS]) == misfits([_norm() for _ in SEEDS]) == []
