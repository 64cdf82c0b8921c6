"""The MNIST network: fully connected ReLU layers with log-probabilities out."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import Dropout, Flatten, Linear, log_softmax
from jaxnn.nn.initializers import Rngs


class MnistMLP(nnx.Module):
    """fc1, fc2, ...: ReLU (and dropout) after each but the last; log_softmax."""

    functional = ("flatten", "dropouts")

    def __init__(
        self,
        spec: recipe.MnistMLP,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        self.flatten = Flatten()
        self.depth = len(spec.hidden) + 1
        widths = (math.prod(input_shape), *spec.hidden, outputs)
        for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
            setattr(self, f"fc{number}", Linear(fan_in, fan_out, rngs=rngs, param_dtype=param_dtype))
        self.dropouts = nnx.List([Dropout(spec.dropout) for _ in spec.hidden])

    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch outputs"]:
        x = self.flatten(x)
        for number in range(1, self.depth):
            x = self.dropouts[number - 1](jax.nn.relu(getattr(self, f"fc{number}")(x)))
        return log_softmax(getattr(self, f"fc{self.depth}")(x))
