"""A trained run asked about images that it has not seen: no data set is needed."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64

from jaxnn.data.pictures import Images
from jaxnn.run_dir import RunDir
from torchref import precision
from torchref.evaluate import trained
from torchref.step import normalize


def predict(
    run: RunDir, images: Images, *, on_notice: Callable[[str], None]
) -> Float64[np.ndarray, "pictures outputs"]:
    """The outputs of the run's newest readable checkpoint, in evaluation mode, for images of its input's shape."""
    recipe, _ = run.read_recipe()
    data = run.trained_on()
    model = trained(recipe, run, data.name, data.input_shape, len(data.classes), on_notice).eval()
    inputs = torch.from_numpy(images).to(precision.device())
    with torch.inference_mode():
        outputs = model(normalize(inputs, recipe.input, precision.dtype(recipe.precision)))
    return outputs.double().cpu().numpy()
