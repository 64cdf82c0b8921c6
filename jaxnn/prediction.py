"""A trained run asked about images that it has not seen: no data set is needed."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float64, UInt8

from jaxnn import backbone, models, optim, precision, schedules, step
from jaxnn.checkpoint import Checkpoints
from jaxnn.data.order import batching
from jaxnn.errors import UserError
from jaxnn.lane import arrays
from jaxnn.position import Position
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import Program, TrainState
from jaxnn.torch_random import TorchGenerator


def predict(
    run: RunDir, images: UInt8[np.ndarray, "batch height width channels"], *, notice: Callable[[str], None]
) -> Float64[np.ndarray, "batch outputs"]:
    """The outputs of the run's newest readable checkpoint, in evaluation mode, for images of its input's shape."""
    recipe, _ = run.read_recipe()
    with precision.activate(recipe.precision) as dtypes:
        program, state = _trained(run, recipe, dtypes, notice)
        split = step.device_split(images, np.zeros(len(images), np.int32), recipe.input, dtypes)
        outputs = program.predict_step(state.params, state.buffers, split, np.arange(len(images), dtype=np.int32))
        return np.asarray(outputs, np.float64)


def _trained(run: RunDir, recipe: Recipe, dtypes: Dtypes, notice: Callable[[str], None]) -> tuple[Program, TrainState]:
    """The run's program and its newest state. Raises UserError if there is no checkpoint that can be read."""
    data = run.trained_on()
    classes = len(data.classes)
    outputs = 1 if recipe.loss.binary else classes
    rngs = TorchGenerator(0)  # the weights are drawn only to be replaced
    shape = data.input_shape
    model = models.build(recipe.model, input_shape=shape, outputs=outputs, rngs=rngs, param_dtype=dtypes.param)
    rule = optim.build(schedules.starting_optimizer(recipe.schedule, recipe.optimizer))
    rule = backbone.with_state_of(rule, recipe.trained_layer)
    position = Position.at_epoch(1, batching(data.examples, recipe).steps, {}, dtypes)
    with Checkpoints(run.checkpoints) as checkpoints:
        saved = checkpoints.newest(arrays(step.initial_state(model, rule), position), notice)
    if saved is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
    program = step.build(model, recipe, rule, input_shape=shape, classes=classes, dtypes=dtypes)
    return program, TrainState(*jax.tree.map(np.asarray, saved[1]["state"]))
