"""The weights that a run starts from in place of drawn ones: ``recipe.weights``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from jaxnn.interop import weights
from jaxnn.recipe import Recipe


def load(model: nn.Module, recipe: Recipe, notice: Callable[[str], None]) -> None:
    """Puts the file's tensors into ``model``, in its precision; a last layer of other classes stays as drawn.

    Raises UserError for a file that cannot be read or does not fit.
    """
    assert recipe.weights is not None
    file = Path(recipe.weights)
    shapes = {key: (tuple(value.shape), value.cpu().numpy().dtype) for key, value in model.state_dict().items()}
    arrays = weights.matched(weights.read(file, notice), shapes, where=str(file), notice=notice, head=recipe.model.head)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, strict=False)
