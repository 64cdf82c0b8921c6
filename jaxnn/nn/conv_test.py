"""Our convolutions and the fused block against lax in float64: values, gradients, ties, choice of method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnn import nn
from jaxnn.errors import UserError
from jaxnn.nn import toeplitz
from jaxnn.torch_random import TorchGenerator

TOLERANCE = 1e-13  # a few hundred float64 roundings


@pytest.fixture(autouse=True)
def float64(request: pytest.FixtureRequest) -> None:
    # No yield: this package's functions are wrapped to check shapes, which hides a generator from pytest.
    before = jax.config.read("jax_enable_x64")
    request.addfinalizer(lambda: jax.config.update("jax_enable_x64", before))
    jax.config.update("jax_enable_x64", True)


class Case(NamedTuple):
    batch: int
    size: tuple[int, int]
    channels: tuple[int, int]
    kernel: tuple[int, int]
    padding: Any
    pool: tuple[int, int] = (2, 2)


def random_case(seed: int) -> Case:
    random = np.random.default_rng(seed)
    draw = lambda low, high: (int(random.integers(low, high)), int(random.integers(low, high)))  # noqa: E731
    padding = ["valid", "same", (1, 2)][seed % 3]
    return Case(int(random.integers(1, 6)), draw(6, 14), draw(1, 5), draw(1, 6), padding, draw(1, 4))


CASES = [
    Case(4, (32, 32), (3, 6), (5, 5), "valid"),
    Case(1, (32, 32), (1, 6), (5, 5), "valid"),
    Case(33, (14, 14), (3, 8), (5, 5), "valid"),
    Case(2, (15, 15), (6, 16), (3, 3), "valid"),  # a row and a column that no window covers
    Case(3, (7, 10), (2, 3), (4, 2), "same"),
    Case(2, (5, 5), (2, 3), (5, 5), "same", (3, 2)),
    *map(random_case, range(9)),
]


def layers(case: Case) -> tuple[nn.Conv2d, nn.MaxPool2d]:
    conv = nn.Conv2d(*case.channels, case.kernel, padding=case.padding, rngs=TorchGenerator(0), param_dtype=jnp.float64)
    random = np.random.default_rng(1)
    for parameter in (conv.kernel, conv.bias):
        assert parameter is not None
        parameter[...] = coarse(random, parameter.shape)
    return conv, nn.MaxPool2d(case.pool)


def bias_of(conv: nn.Conv2d) -> jax.Array:
    assert conv.bias is not None
    return conv.bias[...]


def coarse(random: np.random.Generator, shape: tuple[int, ...]) -> jax.Array:
    """Multiples of a half, few of them different: sums are exact, and equal maxima are many."""
    return jnp.asarray(np.round(random.normal(size=shape) * 2) / 2)


def values_and_gradients(case: Case, forward: Callable[..., jax.Array], *, method: str) -> dict[str, np.ndarray]:
    conv, pool = layers(case)
    random = np.random.default_rng(2)
    x = coarse(random, (case.batch, *case.size, case.channels[0]))
    graph, params = nnx.split(conv)

    @jax.jit
    def compute(params: Any, x: jax.Array, cotangent: jax.Array) -> Any:
        y, backward = jax.vjp(lambda params, x: forward(nnx.merge(graph, params), pool, x), params, x)
        return y, *backward(cotangent[: y.size].reshape(y.shape))

    with nn.conv_method(method):
        y, gradients, dx = compute(params, x, jnp.asarray(random.normal(size=2 * x.size * case.channels[1])))
    return {"y": np.asarray(y), "x": np.asarray(dx)} | {
        k: np.asarray(v) for k, v in nnx.to_pure_dict(gradients).items()
    }


def conv_alone(conv: nn.Conv2d, pool: nn.MaxPool2d, x: jax.Array) -> jax.Array:
    return conv(x)


def largest_error(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """Relative to the largest magnitude of each array."""
    assert found.keys() == expected.keys()
    errors = []
    for name, value in expected.items():
        assert found[name].shape == value.shape and found[name].dtype == value.dtype
        errors.append(np.abs(found[name] - value).max() / (np.abs(value).max() or 1.0))
    return float(max(errors))


@pytest.mark.parametrize("forward", [nn.conv_relu_pool, conv_alone])
@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_blocks_compute_what_lax_computes(case: Case, forward: Callable[..., jax.Array]) -> None:
    blocked = values_and_gradients(case, forward, method="blocked")
    assert largest_error(blocked, values_and_gradients(case, forward, method="lax")) <= TOLERANCE


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("case", CASES[2:8], ids=lambda case: " ".join(map(str, case)))
def test_patches_compute_what_lax_computes(case: Case, stride: tuple[int, int]) -> None:
    def forward(conv: nn.Conv2d, pool: nn.MaxPool2d, x: jax.Array) -> jax.Array:
        return nn.conv2d(x, conv.kernel[...], stride=stride, padding=conv.padding)

    patches = values_and_gradients(case, forward, method="im2col")
    assert largest_error(patches, values_and_gradients(case, forward, method="lax")) <= TOLERANCE


def _last_maximum(z: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    pixels = z.reshape(-1, len(bias), z.shape[-1])
    y = jnp.maximum(pixels.max(0) + bias[:, None], 0)
    last = len(pixels) - 1 - jnp.argmax(pixels[::-1], axis=0)
    return y, jnp.where(y > 0, last, len(pixels)).astype(jnp.int8)


def _gradient_at_zero(z: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    pixels = z.reshape(-1, len(bias), z.shape[-1])
    y = jnp.maximum(pixels.max(0) + bias[:, None], 0)
    return y, jnp.argmax(pixels, axis=0).astype(jnp.int8)


@pytest.mark.parametrize("fault", [_last_maximum, _gradient_at_zero])
def test_a_planted_fault_is_caught(fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = values_and_gradients(CASES[0], nn.conv_relu_pool, method="lax")
    monkeypatch.setattr(toeplitz, "_pool_bias_relu", fault)
    assert largest_error(values_and_gradients(CASES[0], nn.conv_relu_pool, method="blocked"), expected) > 1e-3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_lower_precision_stays_close_to_float64(dtype: Any) -> None:
    conv, pool = layers(CASES[2])
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 14, 14, 3)))
    kernel, bias = conv.kernel[...], bias_of(conv)

    def loss(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        y = toeplitz.conv_relu_pool(x, kernel, bias, padding=conv.padding, pool=pool.kernel_size)
        assert y.dtype == kernel.dtype
        return y.astype(jnp.float64).sum()

    exact = jax.grad(loss, (0, 1, 2))(x, kernel, bias)
    lowered = jax.grad(loss, (0, 1, 2))(*(array.astype(dtype) for array in (x, kernel, bias)))
    for found, expected in zip(lowered[1:], exact[1:], strict=True):  # x's gradient moves where two values are close
        assert found.dtype == dtype
        error = np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()
        assert error <= 4 * float(jnp.finfo(dtype).eps) * np.sqrt(8 * 25)


@pytest.mark.parametrize("transposed", [False, True], ids=["as it is", "a planted fault"])
def test_equal_windows_give_equal_outputs(transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else rounding would decide which of equal pixels a pool sends its gradient to. At the product's edges it may."""
    if transposed:
        product = jax.lax.dot_general
        monkeypatch.setattr(jax.lax, "dot_general", lambda a, b, dimensions: product(a.T, b, (((1,), (0,)), ((), ()))))
    random = np.random.default_rng(0)
    parted = []
    for batch, size, channels, kernel in ((64, 32, (1, 6), 5), (4, 32, (3, 6), 5), (64, 32, (3, 6), 5)):
        x = jnp.broadcast_to(random.normal(size=(batch, 1, 1, channels[0])), (batch, size, size, channels[0]))
        weights = random.normal(size=(kernel, kernel, *channels))
        y = toeplitz.conv(jnp.float32(x), jnp.float32(weights), padding=((0, 0), (0, 0)), tile=(2, 2))
        parted.append(float(jnp.mean(y != y[:, :1, :1])))
    assert max(parted) > 0.2 if transposed else max(parted) < 0.01, parted


def test_the_block_can_be_batched_over_kernels() -> None:
    conv, pool = layers(CASES[3])
    x = coarse(np.random.default_rng(0), (2, 15, 15, 6))
    kernels = jnp.stack([conv.kernel[...], 2 * conv.kernel[...]])

    def block(kernel: jax.Array) -> jax.Array:
        return toeplitz.conv_relu_pool(x, kernel, bias_of(conv), padding=conv.padding, pool=pool.kernel_size)

    np.testing.assert_allclose(jax.vmap(block)(kernels), jnp.stack([block(k) for k in kernels]), rtol=TOLERANCE)


def _uses_lax(function: Callable[..., Any], *arguments: Any) -> bool:
    return "conv_general_dilated" in str(jax.make_jaxpr(function)(*arguments))


def test_the_method_is_chosen_by_backend_shape_and_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, pool = layers(CASES[0])
    x = jnp.zeros((64, 32, 32, 3))
    block = lambda x: nn.conv_relu_pool(conv, pool, x)  # noqa: E731
    assert not _uses_lax(block, x)
    assert _uses_lax(lambda x: nn.conv2d(x, conv.kernel[...], method="lax"), x)
    with nn.conv_method("lax"):
        assert _uses_lax(block, x)
    deep = jnp.zeros((3, 3, 64, 128))  # few pixels and many channels
    at_end = lambda x: nn.conv2d(x, deep, padding=((1, 1), (1, 1)), stride=(2, 2))  # noqa: E731
    assert not _uses_lax(at_end, jnp.zeros((8, 8, 8, 64)))
    assert _uses_lax(at_end, jnp.zeros((8, 16, 16, 64)))
    strided = nn.Conv2d(3, 6, 5, stride=2, rngs=TorchGenerator(0), param_dtype=jnp.float64)
    with nn.conv_method("blocked"):
        assert _uses_lax(lambda x: nn.conv_relu_pool(strided, pool, x), x)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert _uses_lax(lambda x: at_end(x), jnp.zeros((8, 8, 8, 64)))  # not the function that is traced already
    assert _uses_lax(lambda x: nn.conv_relu_pool(conv, pool, x), x)
    with nn.conv_method("blocked"):
        assert not _uses_lax(lambda x: nn.conv_relu_pool(conv, pool, x), x)


def test_layers_that_are_watched_or_changed_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, pool = layers(CASES[0])
    x = jnp.ones((2, 32, 32, 3))
    expected = nn.conv_relu_pool(conv, pool, x)
    seen = []
    call = nn.Conv2d.__call__
    monkeypatch.setattr(nn.Conv2d, "__call__", lambda self, x: seen.append(call(self, x)) or seen[-1])
    np.testing.assert_allclose(nn.conv_relu_pool(conv, pool, x), expected, rtol=TOLERANCE)
    assert [y.shape for y in seen] == [(2, 28, 28, 6)]


def test_a_wrong_switch_is_one_sentence() -> None:
    with nn.conv_method("fast"), pytest.raises(UserError, match="no convolution method 'fast'"):
        nn.conv2d(jnp.zeros((1, 4, 4, 1)), jnp.zeros((2, 2, 1, 1)))


def test_a_second_call_does_not_recompile_and_a_changed_switch_does() -> None:
    conv, pool = layers(CASES[3])
    block: Any = jax.jit(lambda x: nn.conv_relu_pool(conv, pool, x))
    x = jnp.ones((2, 15, 15, 6))
    for _ in range(2):
        block(x)
        assert block._cache_size() == 1
    with nn.conv_method("lax"):
        block(x)
    assert block._cache_size() == 2


def test_the_fences_reach_the_compiled_program() -> None:
    """Without them XLA would fuse stages into each other: every one is a call there, forward and backward."""
    conv, pool = layers(CASES[3])
    kernel, bias = conv.kernel[...], bias_of(conv)

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return toeplitz.conv_relu_pool(x, kernel, bias, padding=conv.padding, pool=pool.kernel_size).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(jnp.ones((2, 15, 15, 6)), kernel).compile().as_text()
    assert compiled is not None
    calls = [line for line in compiled.splitlines() if " call(" in line and 'inlineable="false"' in line]
    assert len(calls) == 6  # matrix, patches, pool; and the adjoint of each
