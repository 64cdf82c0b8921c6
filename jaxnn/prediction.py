"""A trained run asked about examples that it has not seen: no data set is needed."""

from collections.abc import Callable

import numpy as np
from flax import nnx
from jaxtyping import Float64

from jaxnn import optim, precision, step, trained
from jaxnn.checkpoint_choice import Choice
from jaxnn.device_split import Split, device_split
from jaxnn.nn import DropoutMask
from jaxnn.run_dir import RunDir


def predict(
    run: RunDir, inputs: np.ndarray, *, checkpoint: Choice = "newest", notice: Callable[[str], None]
) -> Float64[np.ndarray, "examples outputs"]:
    """The outputs of the run's checkpoint chosen, in evaluation mode: for images or rows of its input's shape, as many
    at a time as the recipe evaluates. ``inputs`` may be a jaxnn.data.stored.Stored, which is read as many at a time."""
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

        def split(images: np.ndarray) -> Split:
            return device_split(images, np.zeros(len(images), np.int32), recipe.input, dtypes)

        whole = split(inputs) if isinstance(inputs, np.ndarray) else None
        size = min(recipe.eval_batch_size, len(inputs))
        # The last batch is filled up with the last example.
        outputs = []
        for start in range(0, len(inputs), size):
            rows = np.minimum(np.arange(start, start + size, dtype=np.int32), len(inputs) - 1)
            given = (split(inputs[rows]), np.arange(size, dtype=np.int32)) if whole is None else (whole, rows)
            outputs.append(np.asarray(program.predict_step(params, buffers, *given), np.float64))
        return np.concatenate(outputs)[: len(inputs)]
