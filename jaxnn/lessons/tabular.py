"""The network and the data of the lessons on one step: 500 rows of 20 numbers, three classes at random."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxnn import data, losses, models, recipe
from jaxnn.torch_random import TorchGenerator


class Problem(NamedTuple):
    """``loss`` takes ``params`` and inputs of (rows, 20)."""

    params: Any
    inputs: jax.Array
    labels: jax.Array
    loss: Callable[[Any, jax.Array], jax.Array]


def problem(seed: int) -> Problem:
    """Data and network each drawn from the seed, as the document does."""
    split = data.load("uniform-500x20", seed=seed).train
    inputs, labels = jnp.asarray(split.inputs, jnp.float64), jnp.asarray(split.labels)
    net = models.build(
        recipe.TabularMLP(), input_shape=(20,), outputs=3, rngs=TorchGenerator(seed), param_dtype=jnp.float64
    )
    definition, params = nnx.split(net)

    def loss(params: Any, inputs: jax.Array) -> jax.Array:
        network: Any = nnx.merge(definition, params)
        return losses.cross_entropy(network(inputs), labels)

    return Problem(params, inputs, labels, loss)
