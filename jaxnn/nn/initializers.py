"""PyTorch's initialization: uniform within 1/sqrt(fan_in) by default, weight and bias alike; normal on request."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnn.torch_random import TorchGenerator

Rngs = nnx.Rngs | TorchGenerator
"""Where a layer draws its weights: JAX's streams, or the stream of torch.manual_seed(seed)."""


def default_weight(
    rngs: Rngs, torch_shape: tuple[int, ...], *, fan_in: int, dtype: jnp.dtype | type = jnp.float32
) -> jax.Array:
    """A weight of ``torch_shape`` as nn.Linear and nn.Conv2d draw it: kaiming_uniform_(a=sqrt(5))."""
    # In exact arithmetic 1/sqrt(fan_in); computed as torch.nn.init does, for the last bit.
    bound = math.sqrt(3.0) * (math.sqrt(2.0 / (1 + math.sqrt(5) ** 2)) / math.sqrt(fan_in))
    return _uniform(rngs, torch_shape, bound, dtype)


def default_bias(
    rngs: Rngs, torch_shape: tuple[int, ...], *, fan_in: int, dtype: jnp.dtype | type = jnp.float32
) -> jax.Array:
    """A bias of ``torch_shape``, uniform within 1/sqrt(fan_in)."""
    return _uniform(rngs, torch_shape, 1 / math.sqrt(fan_in), dtype)


def kaiming_normal(
    rngs: Rngs, torch_shape: tuple[int, ...], *, fan: int, dtype: jnp.dtype | type = jnp.float32
) -> jax.Array:
    """A weight of ``torch_shape`` as kaiming_normal_(nonlinearity="relu") draws it, with ``fan`` inputs or outputs."""
    return normal(rngs, torch_shape, std=math.sqrt(2.0) / math.sqrt(fan), dtype=dtype)


def normal(rngs: Rngs, torch_shape: tuple[int, ...], *, std: float, dtype: jnp.dtype | type = jnp.float32) -> jax.Array:
    """A weight of ``torch_shape`` as normal_(0, std) draws it."""
    if isinstance(rngs, TorchGenerator):
        return jnp.asarray(rngs.normal(torch_shape, std), dtype)
    return std * jax.random.normal(rngs.params(), torch_shape, dtype)


def _uniform(rngs: Rngs, shape: tuple[int, ...], bound: float, dtype: jnp.dtype | type) -> jax.Array:
    if isinstance(rngs, TorchGenerator):
        # Drawn in float32 and widened, so that a float64 run starts from the float32 run's weights.
        return jnp.asarray(rngs.uniform(shape, bound), dtype)
    return jax.random.uniform(rngs.params(), shape, dtype, -bound, bound)


def to_conv_kernel(weight: jax.Array | np.ndarray) -> jax.Array:
    """A torch convolution weight (out, in, height, width) as a JAX kernel (height, width, in, out)."""
    return jnp.transpose(jnp.asarray(weight), (2, 3, 1, 0))
