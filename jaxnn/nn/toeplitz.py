"""Convolution on a CPU as one large matrix product, alone or with bias, ReLU and max-pooling behind it.

XLA's CPU convolution is slow at the sizes of small networks, above all its gradients; its matrix product is
not. Here a column of the product is a tile of output pixels, the 2x2 of a pooling window, instead of one
pixel: the kernel, written once for each pixel of the tile at that pixel's offset, is a block-Toeplitz matrix
[window x in, tile x out]. Its zeros cost less than the patches, which one column a pixel would make larger.

- Images are batch-minor (C, H, W, N): what is gathered, shifted or pooled are rows of N numbers. The public
  functions transpose from and to (N, H, W, C); between two blocks XLA cancels the pair.
- Outputs are ordered (pixel of the tile, channel), which makes the pool a maximum of slices. Bias and ReLU
  follow it. All that the gradient needs is one int8 a pooled value: which pixel won, the first of equals in
  row-major order as in PyTorch, or that ReLU is off.
- Patches, matrix and its gradient are gathers by constant indices, faster than joining slices. Each stage is
  fenced, or XLA would fuse it into, and so repeat it in, every reader. Reshapes stay outside the fences:
  a loop over merged dimensions divides to find its place, at several times the cost of the move itself.
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from jaxnn.nn.blocking import Blocking, Pair, each, patch_rows, toeplitz_copies, toeplitz_entries
from jaxnn.nn.fence import fenced

Padding = tuple[Pair, Pair]
Kernel = Float[Array, "_height _width _in _out"]
Image = Float[Array, "_channel _height _width _batch"]
Matrix = Float[Array, "_rows _columns"]


def output_size(image: tuple[int, ...], kernel: tuple[int, ...], padding: Padding) -> Pair:
    """Height and width of the convolution of stride 1 of an image of this height and width."""
    return each(lambda size, pad, span: size + sum(pad) - span + 1, image, padding, kernel[:2])


def conv(
    x: Float[Array, "batch height width in"], kernel: Kernel, *, padding: Padding, tile: Pair
) -> Float[Array, "batch height_out width_out out"]:
    """The convolution of stride 1 with zeros as padding, by tiles of ``tile`` output pixels."""
    size = output_size(x.shape[1:3], kernel.shape, padding)
    blocking = Blocking((kernel.shape[0], kernel.shape[1]), tile, each(lambda size, tile: -(-size // tile), size, tile))
    y: Any = _conv(_batch_last(x, padding, blocking), kernel, blocking)
    return _channels_last(y[:, : size[0], : size[1]])


def conv_relu_pool(
    x: Float[Array, "batch height width in"],
    kernel: Kernel,
    bias: Float[Array, " out"],
    *,
    padding: Padding,
    pool: Pair,
) -> Float[Array, "batch height_out width_out out"]:
    """The same, plus bias, then ReLU and the maxima of ``pool`` windows side by side, which are the tiles."""
    size = output_size(x.shape[1:3], kernel.shape, padding)
    blocking = Blocking((kernel.shape[0], kernel.shape[1]), pool, each(lambda size, window: size // window, size, pool))
    return _channels_last(_conv_relu_pool(_batch_last(x, padding, blocking), kernel, bias, blocking))


def _batch_last(x: Float[Array, "n h w c"], padding: Padding, blocking: Blocking) -> Image:
    """The pixels that the tiles see: zeros before and after the image, or pixels at its end left out."""
    ends = each(lambda seen, size, pad: seen - size - pad[0], blocking.input, x.shape[1:3], padding)
    borders = [(before, end, 0) for (before, _), end in zip(padding, ends, strict=True)]
    return jax.lax.pad(x.transpose(3, 1, 2, 0), jnp.zeros((), x.dtype), [(0, 0, 0), *borders, (0, 0, 0)])


def _channels_last(x: Image) -> Float[Array, "n h w c"]:
    return x.transpose(3, 1, 2, 0)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Image, kernel: Kernel, blocking: Blocking) -> Image:
    return _conv_forward(x, kernel, blocking)[0]


def _conv_forward(x: Image, kernel: Kernel, blocking: Blocking) -> tuple[Image, Any]:
    z, residual = _product(x, kernel, blocking)
    return _joined(_from_tiles(z, blocking)), residual


def _conv_backward(blocking: Blocking, residual: Any, gradient: Image) -> tuple[Image, Kernel]:
    tiles = _to_tiles(gradient, blocking)
    return _product_adjoint(residual, tiles.reshape(residual.matrix.shape[1], -1), blocking)


_conv.defvjp(_conv_forward, _conv_backward)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _conv_relu_pool(x: Image, kernel: Kernel, bias: Array, blocking: Blocking) -> Image:
    return _conv_relu_pool_forward(x, kernel, bias, blocking)[0]


def _conv_relu_pool_forward(x: Image, kernel: Kernel, bias: Array, blocking: Blocking) -> tuple[Image, Any]:
    z, residual = _product(x, kernel, blocking)
    y, winner = _pool_bias_relu(z, bias)
    return y.reshape(-1, *blocking.grid, x.shape[-1]), (residual, winner)


def _conv_relu_pool_backward(blocking: Blocking, residuals: Any, gradient: Image) -> tuple[Image, Kernel, Array]:
    residual, winner = residuals
    routed, bias_gradient = _pool_bias_relu_adjoint(winner, gradient.reshape(winner.shape), blocking.tile)
    return *_product_adjoint(residual, routed, blocking), bias_gradient


_conv_relu_pool.defvjp(_conv_relu_pool_forward, _conv_relu_pool_backward)


class _Residual(NamedTuple):
    patches: Matrix
    matrix: Matrix
    kernel: Kernel


def _product(x: Image, kernel: Kernel, blocking: Blocking) -> tuple[Matrix, _Residual]:
    """Rows (pixel of the tile, channel), columns (tile, batch).

    XLA sums this product over first dimensions from front to back, so that equal windows give equal outputs
    wherever they are in their tiles, and a pool meets the ties that PyTorch meets. ``matrix.T``, stored, would be
    multiplied faster on two threads, but in partial sums, which part such ties.
    """
    matrix = _toeplitz(kernel, blocking)
    patches = _patches(x.reshape(-1, x.shape[-1]), blocking, len(x)).reshape(len(matrix), -1)
    over_first = ((0,), (0,)), ((), ())
    return jax.lax.dot_general(matrix, patches, over_first), _Residual(patches, matrix, kernel)


def _product_adjoint(residual: _Residual, gradient: Matrix, blocking: Blocking) -> tuple[Image, Kernel]:
    """The gradients of input and kernel, summed in float32 at least and rounded once."""
    dtype, shape = residual.kernel.dtype, residual.kernel.shape
    matmul = partial(jnp.matmul, preferred_element_type=jnp.promote_types(dtype, jnp.float32))
    kernel_gradient = _toeplitz_adjoint(matmul(residual.patches, gradient.T), shape, blocking)
    patches = matmul(residual.matrix, gradient).reshape(shape[2], *blocking.window, *blocking.grid, -1)
    height, width = blocking.input
    input_gradient = _joined(_overlap_add(patches, blocking))[:, :height, :width]
    return input_gradient.astype(dtype), kernel_gradient.astype(dtype)


def _joined(tiles: Float[Array, "c tiles_h tile_h tiles_w tile_w n"]) -> Image:
    c, tiles_h, tile_h, tiles_w, tile_w, n = tiles.shape
    return tiles.reshape(c, tiles_h * tile_h, tiles_w * tile_w, n)


def _take(x: Array, index: Any) -> Array:
    return x.at[index].get(mode="promise_in_bounds")


@fenced("blocking", "channels")
def _patches(pixels: Matrix, blocking: Blocking, channels: int) -> Matrix:
    """Rows (channel, place in the window, tile) of the flat input."""
    return _take(pixels, patch_rows(blocking, channels))


@fenced("blocking")
def _overlap_add(
    patches: Float[Array, "c window_h window_w grid_h grid_w n"], blocking: Blocking
) -> Float[Array, "c tiles_h tile_h tiles_w tile_w n"]:
    """The adjoint of _patches: each pixel is the sum of its copies."""
    tile, grid = blocking.tile, blocking.grid
    shifts = each(lambda window, tile: -(-window // tile), blocking.window, tile)
    missing = each(lambda shift, tile, window: shift * tile - window, shifts, tile, blocking.window)
    d = jnp.pad(patches, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0), (0, 0), (0, 0)))
    d = d.reshape(len(d), shifts[0], tile[0], shifts[1], tile[1], *grid, -1)
    shifted = [
        jnp.pad(d[:, i, :, j], ((0, 0), (0, 0), (0, 0), (i, shifts[0] - 1 - i), (j, shifts[1] - 1 - j), (0, 0)))
        for i, j in np.ndindex(shifts)
    ]
    return reduce(jnp.add, shifted).transpose(0, 3, 1, 4, 2, 5)


@fenced("blocking")
def _toeplitz(kernel: Kernel, blocking: Blocking) -> Matrix:
    ending_in_zero = jnp.append(kernel.ravel(), jnp.zeros((), kernel.dtype))
    return _take(ending_in_zero, toeplitz_entries(blocking, kernel.shape[2:]))


@fenced("shape", "blocking")
def _toeplitz_adjoint(matrix: Matrix, shape: tuple[int, int, int, int], blocking: Blocking) -> Kernel:
    return _take(matrix.ravel(), toeplitz_copies(blocking, shape[2:])).sum(0).reshape(shape)


@fenced("blocking")
def _from_tiles(z: Matrix, blocking: Blocking) -> Float[Array, "c grid_h tile_h grid_w tile_w n"]:
    tile, grid = blocking.tile, blocking.grid
    z = z.reshape(*tile, -1, *grid, z.shape[-1] // (grid[0] * grid[1]))
    return z.transpose(2, 3, 0, 4, 1, 5)


@fenced("blocking")
def _to_tiles(image: Image, blocking: Blocking) -> Float[Array, "tile_h tile_w c grid_h grid_w n"]:
    tile, grid = blocking.tile, blocking.grid
    return image.reshape(len(image), grid[0], tile[0], grid[1], tile[1], -1).transpose(2, 4, 0, 1, 3, 5)


@fenced()
def _pool_bias_relu(z: Matrix, bias: Float[Array, " out"]) -> tuple[Matrix, Int8[Array, "rows columns"]]:
    """For each channel and tile the value, and which pixel won, or the number of pixels where ReLU is off."""
    pixels = list(z.reshape(-1, len(bias), z.shape[-1]))
    largest = reduce(jnp.maximum, pixels)
    winner = len(pixels) - 1
    for pixel in reversed(range(len(pixels) - 1)):
        winner = jnp.where(pixels[pixel] == largest, pixel, winner)
    y = jnp.maximum(largest + bias[:, None], 0)
    return y, jnp.where(y > 0, winner, len(pixels)).astype(jnp.int8)


@fenced("tile")
def _pool_bias_relu_adjoint(
    winner: Int8[Array, "rows columns"], gradient: Matrix, tile: Pair
) -> tuple[Matrix, Float[Array, " out"]]:
    pixels = tile[0] * tile[1]
    routed = jnp.concatenate([jnp.where(winner == pixel, gradient, 0) for pixel in range(pixels)])
    return routed, jnp.where(winner < pixels, gradient, 0).sum(1)
