"""A trained run asked about images that it has not seen: no data set is needed."""

from collections.abc import Callable

import numpy as np
from flax import nnx
from jaxtyping import Float64

from jaxnn import optim, precision, step, trained
from jaxnn.data.pictures import Images
from jaxnn.nn import DropoutMask
from jaxnn.run_dir import RunDir


def predict(run: RunDir, images: Images, *, notice: Callable[[str], None]) -> Float64[np.ndarray, "pictures outputs"]:
    """The outputs of the run's newest readable checkpoint, in evaluation mode, for images of its input's shape."""
    recipe, _ = run.read_recipe()
    with precision.activate(recipe.precision) as dtypes:
        of = trained.load(run, recipe, notice, param_dtype=dtypes.param)
        program = step.build(
            of.model,
            recipe,
            optim.build(recipe.optimizer),
            input_shape=of.input_shape,
            classes=len(of.classes),
            dtypes=dtypes,
        )
        _, params, _, buffers = nnx.split(of.model, nnx.Param, DropoutMask, ...)
        split = step.device_split(images, np.zeros(len(images), np.int32), recipe.input, dtypes)
        examples = np.arange(len(images), dtype=np.int32)
        outputs = program.predict_step(nnx.to_pure_dict(params), nnx.to_pure_dict(buffers), split, examples)
        return np.asarray(outputs, np.float64)
