"""Activations that need more than jax.nn gives them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def log_softmax(x: Float[Array, "batch classes"]) -> Float[Array, "batch classes"]:
    """torch.log_softmax(x, dim=1); in float32 for a bfloat16 input, as under torch.autocast."""
    return jax.nn.log_softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
