"""Losses of independent yes-or-no questions."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxnn.losses.reduction import Loss, Reduction, reduce, require_equal_shapes


def binary_cross_entropy(
    probs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*any"] | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Cross-entropy of probabilities, logarithms clamped at -100 (PyTorch: binary_cross_entropy).

    ``weight`` broadcasts against the values; the mean is over elements, whatever the weights.
    """
    require_equal_shapes("binary_cross_entropy", probs, targets)
    values = _bernoulli_nll(probs, targets)
    return reduce(_weighted(values, weight), reduction)


def binary_cross_entropy_with_logits(
    logits: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*any"] | None = None,
    pos_weight: Float[Array, "*other"] | float | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Cross-entropy of sigmoid(logits); ``pos_weight`` scales class 1 (PyTorch: binary_cross_entropy_with_logits)."""
    require_equal_shapes("binary_cross_entropy_with_logits", logits, targets)
    log_sigmoid = jax.nn.log_sigmoid(logits)
    if pos_weight is not None:
        log_sigmoid = (1 + jnp.broadcast_to(pos_weight - 1, targets.shape) * targets) * log_sigmoid
    values = (1 - targets) * logits - log_sigmoid
    return reduce(_weighted(values, weight), reduction)


def _weighted(values: Array, weight: Array | None) -> Array:
    return values if weight is None else values * jnp.broadcast_to(weight, values.shape)


@jax.custom_vjp
def _bernoulli_nll(probs: Array, targets: Array) -> Array:
    return (targets - 1) * jnp.maximum(jnp.log1p(-probs), -100) - targets * jnp.maximum(jnp.log(probs), -100)


def _bernoulli_nll_forward(probs: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bernoulli_nll(probs, targets), (probs, targets)


def _bernoulli_nll_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # torch's own gradient: finite at 0 and 1, and not that of the clamped logarithm, which is 0 there.
    probs, targets = saved
    smallest = jnp.asarray(1e-12, jnp.float32).astype(probs.dtype)  # torch keeps this constant as a C float
    slope = (probs - targets) / jnp.maximum(probs * (1 - probs), smallest)
    return cotangent * slope, cotangent * (jnp.log1p(-probs) - jnp.log(probs))


_bernoulli_nll.defvjp(_bernoulli_nll_forward, _bernoulli_nll_backward)
