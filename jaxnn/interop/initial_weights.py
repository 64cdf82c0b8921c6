"""The weights that a run starts from in place of drawn ones: ``recipe.weights``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxnn.interop import weights
from jaxnn.interop.state_dict import rules, state_dict
from jaxnn.recipe import Recipe


def load(model: nnx.Module, recipe: Recipe, notice: Callable[[str], None]) -> None:
    """Puts the file's tensors into a model as built, in its precision; a last layer of other classes stays as drawn.

    Raises UserError for a file that cannot be read or does not fit.
    """
    assert recipe.weights is not None
    file = Path(recipe.weights)
    shapes = {key: (value.shape, value.dtype) for key, value in state_dict(model).items()}
    arrays = weights.matched(weights.read(file, notice), shapes, where=str(file), notice=notice, head=recipe.model.head)
    for key, leaf in rules(model).items():
        if key not in arrays:
            continue
        owner: Any = model
        for part in leaf.path[:-1]:
            owner = owner[part] if isinstance(part, int) else getattr(owner, part)
        variable, value = getattr(owner, str(leaf.path[-1])), arrays[key]
        variable[...] = jnp.asarray(leaf.layout.to_nnx(value) if value.ndim else value, variable[...].dtype)
