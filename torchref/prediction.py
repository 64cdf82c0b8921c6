"""A trained run asked about examples that it has not seen: no data set is needed."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64

from jaxnn.checkpoint_choice import Choice
from jaxnn.run_dir import RunDir
from torchref import precision
from torchref.evaluate import trained
from torchref.step import normalize


def predict(
    run: RunDir, inputs: np.ndarray, *, choice: Choice = "newest", on_notice: Callable[[str], None]
) -> Float64[np.ndarray, "examples outputs"]:
    """The outputs of the run's checkpoint chosen, in evaluation mode: for images or rows of its input's shape, as many
    at a time as the recipe evaluates."""
    recipe, _ = run.read_recipe()
    data = run.trained_on()
    model = trained(recipe, run, data.name, data.input_shape, len(data.classes), on_notice, choice).eval()
    outputs = []
    with torch.inference_mode(), precision.activate(recipe.precision):
        for batch in torch.tensor(inputs).split(recipe.eval_batch_size):
            placed = batch.to(precision.device())
            outputs.append(model(normalize(placed, recipe.input, precision.dtype(recipe.precision))).double().cpu())
    return torch.cat(outputs).numpy()
