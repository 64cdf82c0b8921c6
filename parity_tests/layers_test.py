"""Every layer x option against torch.nn in float64: outputs, gradients of inputs and parameters, buffers."""

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxnn import nn
from jaxnn.interop.state_dict import rules, state_dict, to_torch
from jaxnn.torch_random import TorchGenerator

TOLERANCE = 1e-13  # a few hundred float64 roundings


class Case(NamedTuple):
    layer: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = {}
    shape: tuple[int, ...] = (4, 3, 9, 8)  # torch's layout
    calls: int = 1
    train: bool = True


CASES = [
    Case("Linear", (5, 3), shape=(4, 5)),
    Case("Linear", (5, 3), {"bias": False}, shape=(4, 5)),
    Case("Flatten", ()),
    Case("Flatten", (), shape=(4, 1, 9, 8)),
    Case("Conv2d", (3, 6, 5)),
    Case("Conv2d", (3, 6, (3, 2)), {"bias": False}),
    Case("Conv2d", (3, 6, 3), {"stride": 2}),
    Case("Conv2d", (3, 6, 3), {"stride": (1, 3), "padding": (2, 1)}),
    Case("Conv2d", (3, 6, 3), {"padding": "same"}),
    Case("Conv2d", (3, 6, (4, 2)), {"padding": "same"}),
    Case("Conv2d", (3, 6, 3), {"padding": "valid", "dilation": (2, 1)}),
    Case("Conv2d", (3, 6, 4), {"padding": "same", "dilation": 2}),
    Case("Conv2d", (3, 6, 3), {"groups": 3}),
    Case("Conv2d", (3, 6, 3), {"padding": 1, "padding_mode": "reflect"}),
    Case("Conv2d", (3, 6, 3), {"padding": 2, "padding_mode": "replicate"}),
    Case("Conv2d", (3, 6, 3), {"padding": 1, "padding_mode": "circular"}),
    Case("MaxPool2d", (2,)),
    Case("MaxPool2d", (3, 2), {"padding": 1}),
    Case("MaxPool2d", (3, 2), {"ceil_mode": True}),
    Case("MaxPool2d", (3, 2), {"ceil_mode": True, "padding": 1}),
    Case("MaxPool2d", ((2, 3), (1, 2)), {"dilation": 2}),
    Case("MaxPool2d", (3,), {"dilation": (1, 2), "padding": 1, "ceil_mode": True}),
    Case("AvgPool2d", (2,)),
    Case("AvgPool2d", (3, 2), {"padding": 1}),
    Case("AvgPool2d", (3, 2), {"padding": 1, "count_include_pad": False}),
    Case("AvgPool2d", (3, 2), {"padding": 1, "ceil_mode": True}),
    Case("AvgPool2d", (3, 2), {"padding": 1, "ceil_mode": True, "count_include_pad": False}),
    Case("AvgPool2d", (3, 2), {"divisor_override": 5}),
    *(
        Case(layer, (3,), options, shape=shape, calls=3, train=train)
        for layer, shape in (("BatchNorm1d", (4, 3)), ("BatchNorm2d", (4, 3, 5, 2)))
        for options in (
            {},
            {"eps": 0.1},
            {"momentum": 0.7},
            {"momentum": None},
            {"affine": False},
            {"track_running_stats": False},
        )
        for train in (True, False)
    ),
]


def _name(case: Case) -> str:
    options = ",".join(f"{name}={value}" for name, value in case.options.items())
    mode = "" if case.train else " eval"
    return f"{case.layer}{case.arguments} {options}{mode}"


def to_jax(images: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(images, 1, -1))


def to_torch_layout(images: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(images), -1, 1)


def run_both(case: Case, layers: Any = nn) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{what: (jaxnn's, torch's)} after the calls of a case; weights are torch's own draws from the same seed."""
    torch.manual_seed(7)
    theirs = getattr(torch.nn, case.layer)(*case.arguments, **case.options)
    weights = {"rngs": TorchGenerator(7), "param_dtype": jnp.float64} if case.layer in ("Linear", "Conv2d") else {}
    if "Norm" in case.layer:
        weights = {"param_dtype": jnp.float64}
    ours = getattr(layers, case.layer)(*case.arguments, **case.options, **weights)
    # torch draws in the default dtype, here float64: take the weights from jaxnn's layer instead.
    with torch.no_grad():
        for name, value in state_dict(ours).items():
            theirs.get_parameter(name).copy_(torch.tensor(value)) if name in dict(theirs.named_parameters()) else None
    random = np.random.default_rng(3)
    for _ in range(case.calls - 1):  # so that evaluation finds running statistics that differ from their start
        inputs = random.normal(size=case.shape) + 2
        theirs(torch.tensor(inputs))
        ours(to_jax(inputs))
    theirs.train(case.train)
    ours.train() if case.train else ours.eval()
    # Coarse values make ties, which max-pool has to resolve alike.
    inputs = np.round(random.normal(size=case.shape) * 2) / 2
    x = torch.tensor(inputs, requires_grad=True)
    expected = theirs(x)
    cotangent = random.normal(size=expected.shape)
    expected.backward(torch.tensor(cotangent))
    graph, params, rest = nnx.split(ours, nnx.Param, ...)

    def forward(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        layer = nnx.merge(graph, params, nnx.to_pure_dict(rest))
        return layer(x), nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))

    outputs, backward, buffers = jax.vjp(forward, params, to_jax(inputs), has_aux=True)
    gradients, input_gradient = backward(to_jax(cotangent))
    assert x.grad is not None
    result = {
        "output": (to_torch_layout(outputs), expected.detach().numpy()),
        "input gradient": (to_torch_layout(input_gradient), x.grad.numpy()),
    }
    names = rules(ours)
    for key, value in to_torch(names, nnx.to_pure_dict(gradients)).items():
        result[f"{key} gradient"] = (value, theirs.get_parameter(key).grad.numpy())
    for key, value in to_torch(names, buffers).items():
        result[key] = (value, theirs.get_buffer(key).numpy())
    return result


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_layer_equals_torch(case: Case, largest_error: Callable[[object, object], float]) -> None:
    found = {what: largest_error(*pair) for what, pair in run_both(case).items()}
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize(
    "layer",
    [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(2, padding=1)],
    ids=["max", "max with padding", "average"],
)
def test_pools_have_the_same_gradient_when_compiled(layer: nnx.Module) -> None:
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 3)))

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(layer(x) ** 2)

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(images), jax.grad(loss)(images), rtol=1e-14)


def _planted(layer: str, fault: Callable[[type], type]) -> Any:
    """The layers with one of them replaced by a faulty one."""
    return types.SimpleNamespace(**{layer: fault(getattr(nn, layer))})


def _biased_running_variance(base: type) -> type:
    class Faulty(base):
        def _track(self, mean: jax.Array, unbiased_var: jax.Array) -> None:
            super()._track(mean, unbiased_var * 0.9)

    return Faulty


def _flax_momentum(base: type) -> type:
    class Faulty(base):
        def __init__(self, *arguments: Any, momentum: float = 0.1, **options: Any) -> None:
            super().__init__(*arguments, momentum=1 - momentum, **options)

    return Faulty


def _channels_last_flatten(base: type) -> type:
    class Faulty(base):
        def __call__(self, x: jax.Array) -> jax.Array:
            return x.reshape(len(x), -1)

    return Faulty


def _split_ties(base: type) -> type:
    class Faulty(base):
        def __call__(self, x: jax.Array) -> jax.Array:
            n, h, w, c = x.shape
            return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    return Faulty


def _width_before_height(base: type) -> type:
    class Faulty(base):
        def __call__(self, x: jax.Array) -> jax.Array:
            return jnp.swapaxes(super().__call__(jnp.swapaxes(x, 1, 2)), 1, 2)

    return Faulty


def _missing_bias(base: type) -> type:
    class Faulty(base):
        def __call__(self, x: jax.Array) -> jax.Array:
            return super().__call__(x) - self.bias[...]

    return Faulty


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        (Case("BatchNorm2d", (3,), shape=(4, 3, 5, 2)), _biased_running_variance),
        (Case("BatchNorm2d", (3,), shape=(4, 3, 5, 2)), _flax_momentum),
        (Case("Flatten", ()), _channels_last_flatten),
        (Case("MaxPool2d", (2,)), _split_ties),
        (Case("Conv2d", (3, 6, 5)), _width_before_height),
        (Case("Linear", (5, 3), shape=(4, 5)), _missing_bias),
    ],
    ids=lambda value: value.__name__ if callable(value) else value.layer,
)
def test_a_planted_fault_is_caught(
    case: Case, fault: Callable[[type], type], largest_error: Callable[[object, object], float]
) -> None:
    found = {what: largest_error(*pair) for what, pair in run_both(case, _planted(case.layer, fault)).items()}
    assert max(found.values()) > 1e-3, found


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.MaxPool2d(2, padding=2),
        lambda: nn.Conv2d(3, 4, 3, groups=2, rngs=TorchGenerator(0)),
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same", rngs=TorchGenerator(0)),
        lambda: nn.Dropout(1.5),
        lambda: nn.Dropout(0.5)(jnp.ones((2, 3))),
        lambda: nn.BatchNorm1d(3)(jnp.ones((1, 3))),
        lambda: nn.BatchNorm1d(3)(jnp.ones((2, 2, 2, 3))),
    ],
)
def test_misuse_is_refused_as_torch_does(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="got"):
        build()


@pytest.mark.parametrize("shape", [(40, 30), (5, 6, 7, 4)], ids=["table", "images"])
def test_dropout_drops_what_torch_drops(shape: tuple[int, ...]) -> None:
    inputs = np.random.default_rng(0).normal(size=shape)
    torch.manual_seed(11)
    expected = torch.nn.functional.dropout(torch.tensor(inputs), 0.3).numpy()
    layer = nn.Dropout(0.3)
    layer.mask = nn.DropoutMask(to_jax(TorchGenerator(11).bernoulli(shape, 1 - 0.3)))
    np.testing.assert_array_equal(to_torch_layout(layer(to_jax(inputs))), expected)
    layer.eval()
    np.testing.assert_array_equal(to_torch_layout(layer(to_jax(inputs))), inputs)


def test_dropout_draws_for_itself_when_given_streams() -> None:
    layer = nn.Dropout(0.25, rngs=nnx.Rngs(0))
    first, second = layer(jnp.ones((1000,))), layer(jnp.ones((1000,)))
    assert 0.7 < float((first > 0).mean()) < 0.8
    assert not jnp.array_equal(first, second)
