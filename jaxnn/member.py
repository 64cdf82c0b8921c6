"""One run of an experiment: a recipe on its data, with what it has for itself."""

import math
from dataclasses import dataclass

from flax import nnx

from jaxnn import backbone, models, optim, schedules, streams
from jaxnn.data import Dataset
from jaxnn.data.order import Batching, batching, total_steps
from jaxnn.mesh_shape import MeshShape
from jaxnn.nn.normalization import normalize_shares
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe


@dataclass(frozen=True)
class Member:
    """One run of an experiment: what it has for itself. The stream and the schedule advance.

    ``model`` has the weights that the stream has drawn.
    """

    recipe: Recipe
    dataset: Dataset
    model: nnx.Module
    batches: Batching
    total: int
    stream: streams.Stream
    rule: optim.Rule
    schedule: schedules.Schedule


def member(recipe: Recipe, dataset: Dataset, dtypes: Dtypes, mesh: MeshShape = MeshShape()) -> Member:  # noqa: B008
    """The run of ``recipe`` on the prepared ``dataset``, whose batches the devices of ``mesh`` will share.

    Raises UserError if these do not go together.
    """
    batches = batching(len(dataset.train), recipe)
    mesh.require_divides(batches.batch_size)
    classes = len(dataset.classes)
    recipe.loss.require_classes(classes)
    stream = streams.build(recipe)
    model = models.build(
        recipe.model,
        input_shape=dataset.input_shape,
        outputs=1 if recipe.loss.binary else classes,
        rngs=stream.rngs,
        param_dtype=dtypes.param,
    )
    if recipe.batch_norm == "local":
        normalize_shares(model, mesh.devices)
    total = total_steps(batches, recipe)
    epochs = math.ceil(total / batches.steps)
    schedule = schedules.build(recipe.schedule, optimizer=recipe.optimizer, epochs=epochs, total_steps=total)
    rule = backbone.with_state_of(optim.build(schedule.optimizer), recipe.trained_layer)
    return Member(recipe, dataset, model, batches, total, stream, rule, schedule)
