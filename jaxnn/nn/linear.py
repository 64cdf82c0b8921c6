"""Fully connected layers."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn.nn.initializers import Rngs, default_bias, default_weight
from jaxnn.nn.product import product


class Linear(nnx.Module):
    """x @ kernel + bias, with ``kernel`` (in, out); torch.nn.Linear, whose weight is (out, in)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        weight = default_weight(rngs, (out_features, in_features), fan_in=in_features, dtype=param_dtype)
        self.kernel = nnx.Param(weight.T)
        self.bias = (
            nnx.Param(default_bias(rngs, (out_features,), fan_in=in_features, dtype=param_dtype)) if bias else None
        )

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        kernel = self.kernel[...]
        y = product(x.astype(kernel.dtype), kernel)
        return y if self.bias is None else y + self.bias[...]


class Flatten(nnx.Module):
    """Examples as vectors in PyTorch's order: images (N, H, W, C) are flattened as (C, H, W)."""

    def __call__(self, x: Float[Array, "batch *rest"]) -> Float[Array, "batch features"]:
        if x.ndim == 4 and x.shape[-1] > 1:
            x = jnp.transpose(x, (0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)
        return x.reshape(x.shape[0], -1)  # not len(x): an export's batch has no number
