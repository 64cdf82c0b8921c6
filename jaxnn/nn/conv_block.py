"""Convolution, ReLU and max-pooling as one block."""

import jax
from jaxtyping import Array, Float

from jaxnn.nn import toeplitz
from jaxnn.nn.conv import Conv2d
from jaxnn.nn.conv_method import prefers_blocks
from jaxnn.nn.pooling import MaxPool2d

_OWN_CALLS = Conv2d.__call__, MaxPool2d.__call__


def conv_relu_pool(
    conv: Conv2d, pool: MaxPool2d, x: Float[Array, "batch height width in"]
) -> Float[Array, "batch height_out width_out out"]:
    """``pool(relu(conv(x)))``, on a CPU in one step where the shapes allow it and it is faster.

    The layers are called one by one where ``conv_method`` is "lax", and where they are of another class or
    their ``__call__`` is replaced, so that whoever watches or changes single layers finds them.
    """
    if not _fusible(conv, pool, x) or conv.bias is None:
        return pool(jax.nn.relu(conv(x)))
    kernel, bias = conv.kernel[...], conv.bias[...]
    return toeplitz.conv_relu_pool(x.astype(kernel.dtype), kernel, bias, padding=conv.padding, pool=pool.kernel_size)


def _fusible(conv: Conv2d, pool: MaxPool2d, x: Array) -> bool:
    own = (type(conv).__call__, type(pool).__call__) == _OWN_CALLS
    plain_conv = conv.plain and conv.padding_mode == "zeros"
    side_by_side = pool.stride == pool.kernel_size and pool.dilation == (1, 1) and pool.padding == (0, 0)
    if not (own and plain_conv and side_by_side) or pool.ceil_mode:
        return False
    kernel = conv.kernel[...].shape
    size = toeplitz.output_size(x.shape[1:3], kernel, conv.padding)
    return prefers_blocks(kernel, size, tile=pool.kernel_size)
