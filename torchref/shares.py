"""A step of training on this process's share of a batch."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from jaxnn.recipe import Loss, Recipe
from torchref import augment, losses, precision
from torchref.distributed import Ranks
from torchref.state import State
from torchref.step import train_step
from torchref.tensors import Examples

Step = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


def stepper(recipe: Recipe, state: State, examples: Examples, ranks: Ranks) -> Step:
    """A function that trains on a batch: from the numbers of its examples and augment.draw's places for them to its
    loss and number of correct predictions before the update.

    Of several processes each computes its share alone; what they give and what they make of ``state`` is that of
    the whole batch.
    """
    dtype, skips = precision.dtype(recipe.precision), recipe.on_nan == "skip"
    model = ranks.parallel(state.model, recipe)
    has_dropout = getattr(recipe.model, "dropout", 0) > 0

    def step(batch: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor]:
        own = ranks.share(batch)
        x = augment.prepare(examples.inputs[own], None if places is None else ranks.share(places), recipe, dtype)
        loss, masks = state.loss, contextlib.nullcontext()
        if ranks.size > 1:
            loss = functools.partial(_loss, recipe.loss, ranks, examples.labels[batch])
            masks = _WholeBatchDropout(ranks, len(batch)) if has_dropout else masks
        with masks:
            return train_step(
                model, state.optimizer, loss, recipe.clip, x, examples.labels[own], skips=skips, ranks=ranks
            )

    return step


def _loss(loss: Loss, ranks: Ranks, batch: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean of this over the processes is the loss of the batch, and so are the gradients' means its gradients."""
    return ranks.size * losses.share(loss, batch, outputs, labels)


class _WholeBatchDropout(TorchFunctionMode):
    """Inside, dropout draws the mask of the whole batch of so many ``examples``, as a single process does, and takes
    this process's share of it: all generators stay alike."""

    def __init__(self, ranks: Ranks, examples: int) -> None:
        super().__init__()
        self._ranks, self._examples = ranks, examples

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (self._dropout if func is F.dropout else func)(*args, **kwargs or {})

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training:
            return input
        whole = F.dropout(input.new_ones(self._examples, *input.shape[1:]), p)
        return input * self._ranks.share(whole)
