"""The model of a run of JAX with the weights of its newest checkpoint, without the run's data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnn import models
from jaxnn.checkpoint import Checkpoints
from jaxnn.errors import UserError
from jaxnn.nn import DropoutMask
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir


@dataclass(frozen=True)
class Description:
    """What a run says about its model: ``input_shape`` is (height, width, channels) or (features,)."""

    recipe: Recipe
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]

    @property
    def outputs(self) -> int:
        return 1 if self.recipe.loss.binary else len(self.classes)

    @property
    def is_image(self) -> bool:
        return len(self.input_shape) == 3


@dataclass(frozen=True)
class Trained(Description):
    """``model`` is in evaluation mode."""

    model: nnx.Module


def describe(run: RunDir, recipe: Recipe) -> Description:
    """The run's model but for its weights. Raises UserError if environment.json does not say enough."""
    data = run.trained_on()
    return Description(recipe, data.classes, data.input_shape)


def load(
    run: RunDir, recipe: Recipe, notice: Callable[[str], None], *, param_dtype: jnp.dtype | type = jnp.float32
) -> Trained:
    """The model of a run of JAX. Says through ``notice`` which damaged checkpoints it passes over.

    Raises UserError if there is no checkpoint, if none can be read, or if it is of another model.
    """
    described = describe(run, recipe)
    with Checkpoints(run.checkpoints) as checkpoints:
        saved = checkpoints.newest(notice, None)
    if saved is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
    _, params, buffers, _ = saved.state
    return Trained(
        **vars(described), model=_with(_untrained(described, param_dtype), {**_flat(params), **_flat(buffers)}, run)
    )


def _untrained(described: Description, param_dtype: jnp.dtype | type) -> nnx.Module:
    """The model's structure; its weights, which are to be replaced, are not drawn."""
    model = nnx.eval_shape(
        lambda: models.build(
            described.recipe.model,
            input_shape=described.input_shape,
            outputs=described.outputs,
            rngs=nnx.Rngs(0),
            param_dtype=param_dtype,
        )
    )
    model.eval()
    return model


def _with(model: nnx.Module, arrays: dict[str, np.ndarray], run: RunDir) -> nnx.Module:
    """Puts ``arrays``, by dotted path, into the model."""
    graph, masks, weights = nnx.split(model, DropoutMask, ...)
    wanted = {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(weights)}
    shapes = {path: tuple(variable.shape) for path, variable in wanted.items()}
    if shapes != {path: array.shape for path, array in arrays.items()}:
        raise UserError(f"the checkpoint in {run.checkpoints} is not of the model that {run.recipe_file} describes")
    filled = [
        (path, variable.replace(jnp.asarray(arrays[".".join(map(str, path))], variable.dtype)))
        for path, variable in nnx.to_flat_state(weights)
    ]
    no_masks = [(path, mask.replace(jnp.zeros(mask.shape, mask.dtype))) for path, mask in nnx.to_flat_state(masks)]
    return nnx.merge(graph, nnx.from_flat_state(no_masks), nnx.from_flat_state(filled))


def _flat(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    return dict(_leaves(tree, ""))


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
