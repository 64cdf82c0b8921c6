"""The model of a run of JAX with the weights of its newest checkpoint, without the run's data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util

from jaxnn import backbone, models, optim, schedules, step
from jaxnn.checkpoint import Checkpoints
from jaxnn.checkpoint_choice import Choice
from jaxnn.dropout_sites import DropoutSite, dropout_sites
from jaxnn.errors import UserError
from jaxnn.interop.state_dict import Rules, rules
from jaxnn.nn import DropoutMask
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.scaling import Scaling
from jaxnn.step import TrainState

Pytree = Any


@dataclass(frozen=True)
class Description:
    """What a run says about its model: ``input_shape`` is (height, width, channels) or (features,), ``scaling`` that of
    standardized columns, if it is known."""

    recipe: Recipe
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    scaling: Scaling | None = None

    @property
    def outputs(self) -> int:
        return 1 if self.recipe.loss.binary else len(self.classes)

    @property
    def is_image(self) -> bool:
        return len(self.input_shape) == 3


@dataclass(frozen=True, kw_only=True)
class Trained(Description):
    """``model`` is in evaluation mode."""

    model: nnx.Module


def describe(run: RunDir, recipe: Recipe) -> Description:
    """The run's model but for its weights. Raises UserError if environment.json does not say enough."""
    data = run.trained_on()
    return Description(recipe, data.classes, data.input_shape, data.scaling)


class Structure(NamedTuple):
    """What a run's model and training consist of: ``rules`` for PyTorch's names, the state as shapes and dtypes, the
    dropout layers that drop."""

    rules: Rules
    state: TrainState
    dropout: list[DropoutSite]


def structure(of: Description, param_dtype: jnp.dtype | type) -> Structure:
    """Without drawing weights, which takes seconds for a large network."""
    found: list[Structure] = []
    recipe = of.recipe
    rule = backbone.with_state_of(
        optim.build(schedules.starting_optimizer(recipe.schedule, recipe.optimizer)), recipe.trained_layer
    )

    def build() -> TrainState:
        model = _build(of, param_dtype)
        state = step.initial_state(model, rule)
        found.append(Structure(rules(model), state, dropout_sites(model, of.input_shape)))
        return state

    shapes = jax.eval_shape(build)
    return found[0]._replace(state=shapes)


def load(
    run: RunDir,
    recipe: Recipe,
    notice: Callable[[str], None],
    *,
    checkpoint: Choice = "newest",
    param_dtype: jnp.dtype | type = jnp.float32,
) -> Trained:
    """The model of a run of JAX. Says through ``notice`` which damaged checkpoints it passes over.

    Raises UserError if there is no such checkpoint, if it cannot be read, or if it is of another model.
    """
    with Checkpoints(run.checkpoints) as checkpoints:
        saved = checkpoints.find(checkpoint, notice, None)
    if saved is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
    parts = saved.state if isinstance(saved.state, list) else []
    _, params, buffers, _ = parts if len(parts) == 4 else (None,) * 4
    return filled(describe(run, recipe), params, buffers, run, param_dtype=param_dtype)


def filled(
    of: Description, params: Pytree, buffers: Pytree, run: RunDir, *, param_dtype: jnp.dtype | type = jnp.float32
) -> Trained:
    """The model with these leaves, of nested dicts. Raises UserError if they are of another model."""
    model = nnx.eval_shape(lambda: _build(of, param_dtype))
    model.eval()
    graph, *wanted, masks = nnx.split(model, nnx.Param, nnx.Not(DropoutMask), ...)
    states = [_taken(nnx.to_pure_dict(state), given) for state, given in zip(wanted, (params, buffers), strict=True)]
    if None in states:
        raise UserError(f"the checkpoint in {run.checkpoints} is not of the model that {run.recipe_file} describes")
    no_masks = jax.tree.map(lambda mask: jnp.zeros(mask.shape, mask.dtype), nnx.to_pure_dict(masks))
    return Trained(**vars(of), model=nnx.merge(graph, *states, no_masks))


def _taken(wanted: Pytree, given: Pytree) -> Pytree | None:
    """``given`` in the dtypes of ``wanted``, whose paths have numbers where a checkpoint has strings; None if it is of
    other shapes."""
    if not isinstance(given, dict):
        return None
    flat: dict[Any, Any] = traverse_util.flatten_dict(wanted)
    named: dict[Any, Any] = {tuple(map(str, path)): x for path, x in traverse_util.flatten_dict(given).items()}
    paths = {path: tuple(map(str, path)) for path in flat}
    if {paths[path]: _kind(leaf) for path, leaf in flat.items()} != {path: _kind(x) for path, x in named.items()}:
        return None
    return traverse_util.unflatten_dict(
        {path: jnp.asarray(named[paths[path]], leaf.dtype) for path, leaf in flat.items()}
    )


def _kind(array: Any) -> tuple[tuple[int, ...], bool] | None:
    """Shape, and whether it holds floating-point numbers; None: no array."""
    if not hasattr(array, "dtype"):
        return None
    return array.shape, jnp.issubdtype(array.dtype, jnp.floating)


def _build(of: Description, param_dtype: jnp.dtype | type) -> nnx.Module:
    return models.build(
        of.recipe.model,
        input_shape=of.input_shape,
        outputs=of.outputs,
        rngs=nnx.Rngs(0),
        param_dtype=param_dtype,
    )
