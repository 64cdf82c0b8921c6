"""A run's model as an ONNX file, and what it computes, for the check that the command line makes."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from jaxnn.checkpoint_choice import Choice
from jaxnn.data import UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from torchref import checkpoint, models


class _ChannelsLast(nn.Module):
    """``model`` on images with channels last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.permute(0, 3, 1, 2))


def export(
    recipe: Recipe,
    run: RunDir,
    folder: Path,
    *,
    layout: Literal["nchw", "nhwc"],
    opset: int,
    choice: Choice = "newest",
    on_notice: Callable[[str], None],
) -> None:
    """Writes ``folder``/model.onnx (float32, any batch size), ``folder``/outputs.npz and ``folder``/weights.npz.

    ``folder``/inputs.npy has the inputs, normalized and with channels last; ``first`` in outputs.npz is what the model
    computes for the first of them alone, ``all`` for all. Raises UserError if there is no such readable checkpoint.
    """
    state = checkpoint.load(run, on_notice, choice)
    if state is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first")
    inputs = torch.tensor(np.load(folder / "inputs.npy"))
    is_images = inputs.ndim == 4
    weights = {name: value.float() if value.is_floating_point() else value for name, value in state["model"].items()}
    data = run.trained_on()
    outputs = 1 if recipe.loss.binary else len(data.classes)
    with torch.device("meta"):  # weights that are to be replaced are not drawn
        model = models.build(recipe.model, input_shape=data.input_shape, outputs=outputs)
    try:
        model.load_state_dict(weights, assign=True)
    except Exception as error:  # other names or shapes
        raise UserError(f"the checkpoint in {run.checkpoints} is not of the model of {run.recipe_file}") from error
    np.savez(folder / "weights.npz", **{name: value.numpy() for name, value in weights.items()})
    model.eval()
    if is_images and layout == "nchw":
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    elif is_images:
        model = _ChannelsLast(model)
    with torch.inference_mode():
        np.savez(folder / "outputs.npz", first=model(inputs[:1]).numpy(), all=model(inputs).numpy())
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # torch.export of itself
        program = torch.onnx.export(
            model,
            (inputs[:2],),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["input"],
            output_names=["output"],
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    program.save(str(folder / "model.onnx"))
