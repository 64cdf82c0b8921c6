"""A recipe's training seen after every step, for comparison: what the loop does, without files and metrics."""

import contextlib
from collections.abc import Iterator

import torch

from jaxnn.data import Dataset
from jaxnn.errors import UserError
from jaxnn.parity.recording import Arrays
from jaxnn.recipe import Recipe
from torchref import epoch, precision, schedules, shares, tensors
from torchref import state as states
from torchref.distributed import ALONE, Ranks
from torchref.recorder import Variation, after_step, move_by_an_ulp, rates_of


def steps(
    recipe: Recipe, dataset: Dataset, variation: Variation | None = None, ranks: Ranks = ALONE
) -> Iterator[Arrays]:
    """The arrays (see jaxnn.parity.recording) after each step of training ``recipe``, from its seed to its end.

    ``variation``: the same run with other roundings; its batches cannot be reversed. ``ranks``: by these processes,
    of the whole batch in each of them; buffers are the process's own. Raises UserError for a schedule that needs an
    evaluation after each epoch.
    """
    if recipe.schedule.name == "plateau":
        raise UserError("schedule 'plateau' watches metrics, which a comparison of steps does not take; use another")
    variation = variation or Variation()
    device = torch.device("cpu")  # bit-level comparisons are made where both frameworks compute alike
    with _own_surroundings(recipe, variation.threads, None):
        plan = states.plan(recipe, len(dataset.train))
        state = states.start(recipe, dataset, device, plan)
        if variation.ulp is not None:
            move_by_an_ulp(state.model, variation.ulp)
        examples = tensors.load(dataset.train, device)
        step = shares.stepper(recipe, state, examples, ranks)
        stream = torch.get_rng_state()
    while state.step < plan.steps:
        with _own_surroundings(recipe, variation.threads, stream):
            batches = epoch.batches_left(recipe, plan, state, examples)
            stream = torch.get_rng_state()
        for batch, places in batches:
            # Other runs may advance between two steps of this one: the stream, threads and dtype are its own.
            with _own_surroundings(recipe, variation.threads, stream):
                rates = rates_of(state.optimizer)
                loss, _ = step(batch, places)
                schedules.after_step(recipe.schedule, state.scheduler)
                stream = torch.get_rng_state()
            state.step += 1
            yield {"loss": loss.numpy(), **rates, **after_step(state.model, state.optimizer)}
        schedules.after_epoch(recipe.schedule, state.scheduler, {})
        with _own_surroundings(recipe, variation.threads, stream):
            state.next_epoch()


@contextlib.contextmanager
def _own_surroundings(recipe: Recipe, threads: int | None, stream: torch.Tensor | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with precision.default_dtype(recipe.precision), torch.random.fork_rng(devices=[]):
            if stream is not None:
                torch.set_rng_state(stream)
            yield
    finally:
        torch.set_num_threads(before)
