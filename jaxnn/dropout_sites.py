"""Where a model drops: what has to be drawn for a step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxnn.nn.dropout import Dropout, DropoutMask, recording


class DropoutSite(NamedTuple):
    """A dropout layer: its path in the model, the shape of one example there, its rate."""

    path: tuple[Any, ...]
    shape: tuple[int, ...]
    rate: float


def dropout_sites(model: nnx.Module, input_shape: tuple[int, ...]) -> list[DropoutSite]:
    """The layers that drop in a model in training mode, in the order of their calls, from an abstract forward pass."""
    sites: list[DropoutSite] = []
    if not any(isinstance(module, Dropout) and module.rate > 0 for _, module in nnx.iter_modules(model)):
        return sites
    graph, *states = nnx.split(model, nnx.Param, DropoutMask, ...)

    def forward(x: Array) -> Array:
        merged = nnx.merge(graph, *states)
        paths = {id(module): path for path, module in nnx.iter_modules(merged)}
        with recording(lambda module, shape: sites.append(DropoutSite(paths[id(module)], shape[1:], module.rate))):
            return merged(x)

    jax.eval_shape(forward, jax.ShapeDtypeStruct((2, *input_shape), jnp.float32))
    return sites
