"""Random crops and mirrored images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jaxnn import data
from jaxnn.recipe import Recipe
from torchref.step import normalize


def draw(recipe: Recipe, epoch: int, batches: Sequence[Tensor], examples: int) -> Sequence[Tensor | None]:
    """What jaxnn.data.augment draws for each of the ``batches`` of an epoch, (batch, 3); None without augmentation."""
    drawn = data.augment.draw(recipe, epoch, examples)
    if drawn is None:
        return [None] * len(batches)
    sizes = [len(batch) for batch in batches]
    return torch.from_numpy(drawn[: sum(sizes)]).to(batches[0].device).split(sizes)


def augment(images: Tensor, drawn: Tensor, crop: int) -> Tensor:
    """uint8 (batch, height, width, channels) padded by ``crop`` zeros on each side, cut and mirrored as ``drawn``."""
    count, height, width, _ = images.shape
    top, left, mirrored = drawn.long().unbind(1)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(mirrored[:, None] > 0, columns.flip(0), columns) + left[:, None]
    rows = torch.arange(height, device=images.device) + top[:, None]
    padded = F.pad(images, (0, 0, crop, crop, crop, crop))
    return padded[torch.arange(count, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def prepare(inputs: Tensor, drawn: Tensor | None, recipe: Recipe, dtype: torch.dtype) -> Tensor:
    """A batch of training as the model takes it: augmented, then normalized."""
    if drawn is not None:
        inputs = augment(inputs, drawn, recipe.augment.crop)
    return normalize(inputs, recipe.input, dtype)
