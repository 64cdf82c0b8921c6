"""The wide Fashion-MNIST network, with a ReLU after the last layer too."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import Flatten, Linear
from jaxnn.nn.initializers import Rngs


class ReluStack(nnx.Module):
    """linear_relu_stack: fully connected layers at 0, 2, 4, ... and a ReLU behind each.

    The last ReLU makes a class whose logit turns negative for all inputs untrainable; the document
    has it so, and its accuracy shows it.
    """

    def __init__(
        self,
        spec: recipe.ReluStack,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        self.flatten = Flatten()
        layers = []
        for fan_in, fan_out in itertools.pairwise((math.prod(input_shape), *spec.hidden, outputs)):
            layers += [Linear(fan_in, fan_out, rngs=rngs, param_dtype=param_dtype), jax.nn.relu]
        self.linear_relu_stack = nnx.Sequential(*layers)

    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch outputs"]:
        return self.linear_relu_stack(self.flatten(x))
