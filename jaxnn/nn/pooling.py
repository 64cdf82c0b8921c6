"""Max and average pooling, channels last, with PyTorch's rules at the border."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from jaxnn.nn.conv import as_pair
from jaxnn.nn.divided import by_shares

Window = int | tuple[int, int]


class MaxPool2d(nnx.Module):
    """torch.nn.MaxPool2d on (N, H, W, C); of equal values the first gets the gradient."""

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        *,
        padding: Window = 0,
        dilation: Window = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.dilation = as_pair(kernel_size), as_pair(dilation)
        self.stride = as_pair(kernel_size if stride is None else stride)
        self.padding = _checked(as_pair(padding), self.kernel_size)
        self.ceil_mode = ceil_mode

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch h w channel"]:
        border = ((0, 0), *_border(x, self), (0, 0))
        if self.dilation != (1, 1):
            return _dilated_max(jnp.pad(x, border, constant_values=-jnp.inf), self)
        maxima = partial(
            lax.reduce_window,
            init_value=-jnp.inf,
            computation=lax.max,
            window_dimensions=(1, *self.kernel_size, 1),
            window_strides=(1, *self.stride, 1),
            padding=border,
        )
        return by_shares(maxima, x)


def _dilated_max(x: jax.Array, pool: MaxPool2d) -> jax.Array:
    """The maximum over dilated windows, whose gradient lax does not have."""
    spans = [d * (k - 1) + 1 for k, d in zip(pool.kernel_size, pool.dilation, strict=True)]
    stops = [size - span for size, span in zip(x.shape[1:3], spans, strict=True)]
    positions = [
        x[:, i : i + stops[0] + 1 : pool.stride[0], j : j + stops[1] + 1 : pool.stride[1]]
        for i in range(0, spans[0], pool.dilation[0])
        for j in range(0, spans[1], pool.dilation[1])
    ]
    windows = jnp.stack(positions)  # (position, N, h, w, C), row by row: argmax finds the first maximum
    return jnp.take_along_axis(windows, jnp.argmax(windows, axis=0)[None], axis=0)[0]


class AvgPool2d(nnx.Module):
    """torch.nn.AvgPool2d on (N, H, W, C)."""

    dilation = (1, 1)

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        *,
        padding: Window = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = as_pair(kernel_size)
        self.stride = as_pair(kernel_size if stride is None else stride)
        self.padding = _checked(as_pair(padding), self.kernel_size)
        self.ceil_mode = ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch h w channel"]:
        sums = _window_sums(x, _border(x, self), self)
        if self.divisor_override is not None:
            return sums / self.divisor_override
        # What counts are the image and, if asked, its padding; never what ceil_mode reaches beyond.
        counted = self.padding if self.count_include_pad else (0, 0)
        ones = jnp.ones((1, x.shape[1] + 2 * counted[0], x.shape[2] + 2 * counted[1], 1), x.dtype)
        border = tuple(
            (before - extra, after - extra) for (before, after), extra in zip(_border(x, self), counted, strict=True)
        )
        return sums / _window_sums(ones, border, self)


class AdaptiveAvgPool2d(nnx.Module):
    """torch.nn.AdaptiveAvgPool2d on (N, H, W, C): ``output_size`` windows whose bounds are rounded outwards."""

    def __init__(self, output_size: Window) -> None:
        self.output_size = as_pair(output_size)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch h w channel"]:
        if self.output_size == (1, 1):
            return jnp.mean(x, axis=(1, 2), keepdims=True)
        rows, columns = (_averages(size, to, x.dtype) for size, to in zip(x.shape[1:3], self.output_size, strict=True))
        return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, x)


def _averages(size: int, windows: int, dtype: jnp.dtype) -> jax.Array:
    """(windows, size): row i averages the positions from i * size / windows, rounded down, to the next, rounded up."""
    starts = np.arange(windows) * size // windows
    stops = -(-np.arange(1, windows + 1) * size // windows)
    positions = np.arange(size)
    inside = (positions >= starts[:, None]) & (positions < stops[:, None])
    return jnp.asarray(inside / (stops - starts)[:, None], dtype)


def _window_sums(x: jax.Array, border: tuple[tuple[int, int], ...], pool: AvgPool2d) -> jax.Array:
    return lax.reduce_window(
        x,
        0.0,  # not an array of the dtype: inside jit lax would not know it for a zero, nor the sum for one
        lax.add,
        window_dimensions=(1, *pool.kernel_size, 1),
        window_strides=(1, *pool.stride, 1),
        padding=((0, 0), *border, (0, 0)),
    )


def _checked(padding: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"padding must be at most half of kernel_size, got padding {padding} with kernel_size {kernel}"
        )
    return padding


def _border(x: jax.Array, pool: MaxPool2d | AvgPool2d) -> tuple[tuple[int, int], ...]:
    """Pixels (before, after) in height and width; with ceil_mode the last window may reach past the end."""
    geometry = zip(x.shape[1:3], pool.kernel_size, pool.stride, pool.padding, pool.dilation, strict=True)
    return tuple(_reach(*sizes, ceil_mode=pool.ceil_mode) for sizes in geometry)


def _reach(size: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil_mode: bool) -> tuple[int, int]:
    if not ceil_mode:
        return padding, padding
    span = dilation * (kernel - 1) + 1
    windows = math.ceil((size + 2 * padding - span) / stride) + 1
    if (windows - 1) * stride >= size + padding:  # a window may not start in the padding after the image
        windows -= 1
    return padding, max((windows - 1) * stride + span - size - padding, 0)
