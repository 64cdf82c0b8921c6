"""What the epoch under way still has to learn from."""

import torch
from torch import Tensor

from jaxnn.recipe import Recipe
from torchref import augment, order
from torchref.state import Plan, State
from torchref.tensors import Examples


def batches_left(recipe: Recipe, plan: Plan, state: State, examples: Examples) -> list[tuple[Tensor, Tensor | None]]:
    """The numbers of the examples of each batch that is not done, and augment.draw's places for them.

    The order of an epoch under way is drawn again, without moving torch's generator.
    """
    now = torch.get_rng_state()
    torch.set_rng_state(state.epoch_rng)
    count = len(examples.labels)
    batches = order.draw(
        count,
        batch_size=recipe.batch_size or count,
        shuffle=recipe.shuffle,
        drop_last=recipe.drop_last,
        device=examples.labels.device,
    )[: plan.steps_in(state.epoch)]
    if state.step_in_epoch > 0:
        torch.set_rng_state(now)
    drawn = augment.draw(recipe, state.epoch, batches, count)
    return list(zip(batches, drawn, strict=True))[state.step_in_epoch :]
