"""Losses of how far numbers are from their targets."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxnn.losses.reduction import Loss, Reduction, reduce, require_equal_shapes


def mse_loss(
    outputs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*shape"] | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Squared error of every element; the mean divides by the sum of the weights (PyTorch: mse_loss)."""
    _require_shapes("mse_loss", outputs, targets, weight)
    values = jnp.square(outputs - targets)
    return reduce(_weighted(values, weight), reduction, weight)


def l1_loss(
    outputs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*shape"] | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Absolute error, of gradient 0 where it is 0; the mean divides by the sum of the weights (PyTorch: l1_loss)."""
    _require_shapes("l1_loss", outputs, targets, weight)
    return reduce(_weighted(_absolute(outputs - targets), weight), reduction, weight)


def smooth_l1_loss(
    outputs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
) -> Loss:
    """Error² / (2 beta) for errors below ``beta``, above it |error| - beta / 2 (PyTorch: smooth_l1_loss).

    With ``beta`` 0 it is ``l1_loss``. Raises ValueError for a negative one.
    """
    _require_shapes("smooth_l1_loss", outputs, targets)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, but it is {beta}")
    if beta == 0:
        return l1_loss(outputs, targets, reduction=reduction)
    error = _absolute(outputs - targets)
    near = jnp.where(error < beta, error, 0)  # also keeps the square of a huge error out of the gradient
    return reduce(jnp.where(error < beta, 0.5 * near * near / beta, error - 0.5 * beta), reduction)


def huber_loss(
    outputs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    delta: float = 1.0,
    weight: Float[Array, "*shape"] | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Error² / 2 up to ``delta``, above it delta (|error| - delta / 2) (PyTorch: huber_loss).

    The mean is over elements, whatever the weights. Raises ValueError unless ``delta`` is above 0.
    """
    _require_shapes("huber_loss", outputs, targets, weight)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0, but it is {delta}")
    error = _absolute(outputs - targets)
    near = jnp.where(error <= delta, error, 0)
    values = jnp.where(error <= delta, 0.5 * near * near, delta * (error - 0.5 * delta))
    return reduce(_weighted(values, weight), reduction)


def sse_loss(
    outputs: Float[Array, "batch outputs"], targets: Float[Array, "batch outputs"], *, reduction: Reduction = "sum"
) -> Loss:
    """Squared errors summed over the outputs of each example; the reduction is over examples."""
    _require_shapes("sse_loss", outputs, targets)
    return reduce(jnp.square(outputs - targets).sum(axis=1), reduction)


def sum_loss(outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The plain sum (outputs - targets).sum(): not a loss to learn from, but the simplest gradient there is."""
    _require_shapes("sum_loss", outputs, targets)
    return (outputs - targets).sum()


def _absolute(x: Array) -> Array:
    """|x| with torch's gradient at 0, which is 0; that of jnp.abs is 1."""
    return x * jnp.sign(x)


def _weighted(values: Array, weight: Array | None) -> Array:
    return values if weight is None else values * weight


def _require_shapes(loss: str, outputs: Array, targets: Array, weight: Array | None = None) -> None:
    require_equal_shapes(loss, outputs, targets)
    if weight is not None and weight.shape != outputs.shape:
        raise ValueError(f"{loss}: weight must have the shape of outputs, {outputs.shape}, but it is {weight.shape}")
