"""Which convolution is computed: XLA's own, or on a CPU a matrix product where that is faster."""

import os
from typing import Literal, get_args

import jax

from jaxnn.errors import UserError
from jaxnn.nn.blocking import Pair
from jaxnn.nn.divided import divided

ConvMethod = Literal["auto", "lax", "blocked", "im2col"]
"""lax: XLA's convolution. blocked: jaxnn.nn.toeplitz wherever the shapes allow it. im2col: jaxnn.nn.im2col wherever
they allow that. auto: the fastest, as measured."""

conv_method = jax.make_user_context(os.environ.get("JAXNN_CONV_METHOD", "auto"))
"""``with conv_method("lax"):`` chooses for all convolutions traced inside; jax.jit traces anew where it changes."""

_MOST_PIXELS = 16  # of an output for which patches are copied
_MOST_CHANNELS = 128  # in x out; the gain is measured up to 6 x 16, and beyond this lax is left alone


def prefers_blocks(kernel: tuple[int, ...], output: Pair, *, tile: Pair, method: ConvMethod | None = None) -> bool:
    """Whether a convolution of stride 1 should be computed in blocks of ``tile`` pixels of its ``output``.

    ``kernel``: (height, width, in, out). Raises UserError for a method that does not exist.
    """
    method = _checked(method)
    possible = all(size >= pixels for size, pixels in zip(output, tile, strict=True))
    if method != "auto":
        return possible and method == "blocked"
    return possible and _on_one_cpu() and kernel[2] * kernel[3] <= _MOST_CHANNELS


def prefers_patches(output: Pair, *, method: ConvMethod | None = None) -> bool:
    """Whether a convolution without dilation or groups should be one product of patches, if it is not ``blocked``.

    Raises UserError for a method that does not exist.
    """
    method = _checked(method)
    if method != "auto":
        return method == "im2col"
    return _on_one_cpu() and output[0] * output[1] <= _MOST_PIXELS


def _on_one_cpu() -> bool:
    return jax.default_backend() == "cpu" and divided.value is None


def _checked(method: ConvMethod | None) -> ConvMethod:
    method = conv_method.value if method is None else method
    if method not in get_args(ConvMethod):
        raise UserError(
            f"there is no convolution method {method!r}; JAXNN_CONV_METHOD can be auto, lax, blocked or im2col"
        )
    return method
