"""Convolution, channels last."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn.nn import im2col, toeplitz
from jaxnn.nn.blocking import Pair, each
from jaxnn.nn.conv_method import ConvMethod, prefers_blocks, prefers_patches
from jaxnn.nn.initializers import Rngs, default_bias, default_weight, to_conv_kernel

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
_NUMPY_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_TILE = (1, 2)  # output pixels; without a pool to follow


def as_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """torch's convention: one number stands for both height and width."""
    return (value, value) if isinstance(value, int) else value


class Conv2d(nnx.Module):
    """torch.nn.Conv2d on (N, H, W, C) images, with ``kernel`` (height, width, in / groups, out).

    ``padding``: pixels on each side, or "valid" or "same" (stride 1 only, as in PyTorch).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | Literal["valid", "same"] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels, got {groups}, {in_channels}, {out_channels}"
            )
        height, width = as_pair(kernel_size)
        self.stride, self.dilation, self.groups = as_pair(stride), as_pair(dilation), groups
        self.padding_mode: PaddingMode = padding_mode
        self.padding = _pixels(padding, (height, width), self.stride, self.dilation)
        fan_in = in_channels // groups * height * width
        shape = (out_channels, in_channels // groups, height, width)
        self.kernel = nnx.Param(to_conv_kernel(default_weight(rngs, shape, fan_in=fan_in, dtype=param_dtype)))
        self.bias = nnx.Param(default_bias(rngs, (out_channels,), fan_in=fan_in, dtype=param_dtype)) if bias else None

    @property
    def plain(self) -> bool:
        """Stride 1, no dilation, no groups: what the blocked method can compute."""
        return self.stride == self.dilation == (1, 1) and self.groups == 1

    def __call__(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch height_out width_out out"]:
        padding = self.padding
        if self.padding_mode != "zeros":
            x = jnp.pad(x, ((0, 0), *padding, (0, 0)), mode=_NUMPY_MODE[self.padding_mode])
            padding = ((0, 0), (0, 0))
        kernel = self.kernel[...]
        y = conv2d(
            x.astype(kernel.dtype),
            kernel,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias[...]


def conv2d(
    x: Float[Array, "batch height width in"],
    kernel: Float[Array, "i j in_of_group out"],
    *,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    method: ConvMethod | None = None,
) -> Float[Array, "batch height_out width_out out"]:
    """The convolution of a batch of images with zeros as padding, pixels (before, after) in height and width.

    ``method`` overrides ``conv_method`` for this call. Shapes that the blocked method does not know (strides,
    dilation, groups) are computed by lax whatever it says.
    """
    if dilation == (1, 1) and groups == 1:
        size = toeplitz.output_size(x.shape[1:3], kernel.shape, padding)
        if stride == (1, 1) and prefers_blocks(kernel.shape, size, tile=_TILE, method=method):
            return toeplitz.conv(x, kernel, padding=padding, tile=_TILE)
        if min(size) > 0 and prefers_patches(each(lambda size, step: -(-size // step), size, stride), method=method):
            return im2col.conv(x, kernel, stride=stride, padding=padding)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _pixels(
    padding: int | tuple[int, int] | Literal["valid", "same"],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels (before, after) in height and width."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding 'same' needs stride 1, got {stride}; give the padding in pixels")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        # an odd pixel goes after, as in torch's _reversed_padding_repeated_twice
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    height, width = as_pair(padding)
    return (height, height), (width, width)
