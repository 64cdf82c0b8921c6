"""Losses between distributions."""

from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy
from jaxtyping import Float

from jaxnn.losses.reduction import Loss, Reduction, reduce, require_equal_shapes


def kl_div(
    log_probs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    log_target: bool = False,
    reduction: Reduction | Literal["batchmean"] = "mean",
) -> Loss:
    """target (log target - log_prob) of every element (PyTorch: kl_div); ``log_target``: targets are logarithms too.

    The Kullback-Leibler divergence is "batchmean", the sum over the number of examples; "mean" is over elements.
    """
    require_equal_shapes("kl_div", log_probs, targets)
    if log_target:
        values = jnp.exp(targets) * (targets - log_probs)
    else:
        values = xlogy(targets, targets) - targets * log_probs
    if reduction == "batchmean":
        return values.sum() / (len(values) if values.ndim else 1)
    return reduce(values, reduction)
