"""The network for tables: ReLU, then sigmoid, then a linear output."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import Flatten, Linear
from jaxnn.nn.initializers import Rngs


class TabularMLP(nnx.Module):
    """linear1 with ReLU, linear2 with sigmoid, output."""

    functional = ("flatten",)

    def __init__(
        self,
        spec: recipe.TabularMLP,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        first, second = spec.hidden
        self.flatten = Flatten()
        self.linear1 = Linear(math.prod(input_shape), first, rngs=rngs, param_dtype=param_dtype)
        self.linear2 = Linear(first, second, rngs=rngs, param_dtype=param_dtype)
        self.output = Linear(second, outputs, rngs=rngs, param_dtype=param_dtype)

    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch outputs"]:
        x = jax.nn.relu(self.linear1(self.flatten(x)))
        x = jax.nn.sigmoid(self.linear2(x))
        return self.output(x)
