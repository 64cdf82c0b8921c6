"""From the values of a loss to its result, and what all losses ask of their shapes."""

from typing import Literal

from jax import Array
from jaxtyping import Float, Shaped

Reduction = Literal["none", "mean", "sum"]
Loss = Float[Array, "*batch"]


def reduce(values: Array, reduction: Reduction, weights: Array | None = None) -> Array:
    """The values, their sum, or their mean, which with ``weights`` is the sum over the sum of the weights."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "mean":
        return values.mean() if weights is None else values.sum() / weights.sum()
    raise ValueError(f"reduction must be 'none', 'mean' or 'sum', but it is {reduction!r}")


def require_equal_shapes(loss: str, outputs: Shaped[Array, "..."], targets: Shaped[Array, "..."]) -> None:
    """Raises ValueError where broadcasting would hide a mistake."""
    if outputs.shape != targets.shape:
        raise ValueError(f"{loss}: outputs and targets must have one shape, but have {outputs.shape}, {targets.shape}")
