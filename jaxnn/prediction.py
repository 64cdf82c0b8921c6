"""A trained run asked about examples that it has not seen: no data set is needed."""

from collections.abc import Callable

import numpy as np
from flax import nnx
from jaxtyping import Float64

from jaxnn import optim, precision, step, trained
from jaxnn.checkpoint_choice import Choice
from jaxnn.device_split import device_split
from jaxnn.nn import DropoutMask
from jaxnn.run_dir import RunDir


def predict(
    run: RunDir, inputs: np.ndarray, *, checkpoint: Choice = "newest", notice: Callable[[str], None]
) -> Float64[np.ndarray, "examples outputs"]:
    """The outputs of the run's checkpoint chosen, in evaluation mode: for images or rows of its input's shape, as many
    at a time as the recipe evaluates."""
    recipe, _ = run.read_recipe()
    with precision.activate(recipe.precision) as dtypes:
        of = trained.load(run, recipe, notice, checkpoint=checkpoint, param_dtype=dtypes.param)
        program = step.build(
            of.model,
            recipe,
            optim.build(recipe.optimizer),
            input_shape=of.input_shape,
            classes=len(of.classes),
            dtypes=dtypes,
        )
        _, params, _, buffers = nnx.split(of.model, nnx.Param, DropoutMask, ...)
        params, buffers = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
        split = device_split(inputs, np.zeros(len(inputs), np.int32), recipe.input, dtypes)
        size = min(recipe.eval_batch_size, len(inputs))
        # The last batch is filled up with the last example.
        batches = [np.arange(start, start + size, dtype=np.int32) for start in range(0, len(inputs), size)]
        outputs = [
            np.asarray(program.predict_step(params, buffers, split, np.minimum(batch, len(inputs) - 1)), np.float64)
            for batch in batches
        ]
        return np.concatenate(outputs)[: len(inputs)]
