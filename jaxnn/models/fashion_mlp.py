"""The Fashion-MNIST network: one hidden layer without biases, optionally behind a BatchNorm."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import BatchNorm2d, Flatten, Linear, log_softmax
from jaxnn.nn.initializers import Rngs


class FashionMLP(nnx.Module):
    """normalize (optional), linear1 with ReLU, output; log_softmax."""

    functional = ("flatten",)

    def __init__(
        self,
        spec: recipe.FashionMLP,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        spec.require_input(input_shape)
        self.flatten = Flatten()
        self.normalize = BatchNorm2d(input_shape[-1], param_dtype=param_dtype) if spec.batch_norm else None
        self.linear1 = Linear(math.prod(input_shape), spec.hidden, bias=False, rngs=rngs, param_dtype=param_dtype)
        self.output = Linear(spec.hidden, outputs, bias=False, rngs=rngs, param_dtype=param_dtype)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch outputs"]:
        if self.normalize is not None:
            x = self.normalize(x)
        x = jax.nn.relu(self.linear1(self.flatten(x)))
        return log_softmax(self.output(x))
