"""Why a loss became NaN or infinite: the run is taken again from its newest checkpoint to the first bad tensor."""

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from jaxnn import bad_batch
from jaxnn.data import Dataset
from jaxnn.errors import NonFiniteLossError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from torchref import augment, checkpoint, epoch, initial_weights, observation, precision, schedules, shares, tensors
from torchref import state as states
from torchref.distributed import ALONE, Ranks
from torchref.state import Plan, State


@contextlib.contextmanager
def explained(recipe: Recipe, dataset: Dataset, run: RunDir, plan: Plan, ranks: Ranks) -> Iterator[None]:
    """A NonFiniteLossError from inside gets its cause, if that comes again; its batch is then kept
    (``jaxnn.bad_batch``).

    Of several processes the first takes the whole batches again.
    """
    try:
        yield
    except NonFiniteLossError as error:
        cause = ranks.from_first(lambda: _cause(error, recipe, dataset, run, plan))
        raise (error if cause is None else error.because(cause)) from None


def _cause(error: NonFiniteLossError, recipe: Recipe, dataset: Dataset, run: RunDir, plan: Plan) -> str | None:
    state = _taken_up(recipe, dataset, run, plan)
    rows = {row["epoch"]: row for row in run.read_metrics()}
    examples = tensors.load(dataset.train, precision.device())
    take = shares.stepper(recipe, state, examples, ALONE)
    end = (error.epoch - 1) * plan.steps_per_epoch + error.step
    while state.step < end:
        for batch, places in epoch.batches_left(recipe, plan, state, examples)[: end - state.step]:
            watched = state.step >= end - 2  # the step before may have spoiled the weights
            x = augment.prepare(examples.inputs[batch], places, recipe, precision.dtype(recipe.precision))
            found = _first_bad(_computed(state, x, examples.labels[batch])) if watched else None
            take(batch, places)
            schedules.after_step(recipe.schedule, state.scheduler)
            state.step += 1
            state.step_in_epoch += 1
            if watched and found is None:
                found = _first_bad(_updated(state))
            if found is not None:
                arrays = {"inputs": x, "labels": examples.labels[batch], "examples": batch}
                on_host = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
                return bad_batch.keep(run, found, epoch=state.epoch, step=state.step_in_epoch, **on_host)
        if state.epoch in rows:
            schedules.after_epoch(recipe.schedule, state.scheduler, rows[state.epoch])
        state.next_epoch()
    return None


def _taken_up(recipe: Recipe, dataset: Dataset, run: RunDir, plan: Plan) -> State:
    state = states.start(recipe, dataset, precision.device(), plan)
    saved = checkpoint.load(run, lambda text: None)
    if saved is not None:
        states.restore(state, saved, plan, run)
    elif recipe.weights is not None:
        initial_weights.load(state.model, recipe, lambda text: None)
    return state


def _computed(state: State, x: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
    """All that a step computes before the update, in order; leaves the state and torch's generators."""
    yield "the inputs", x
    devices = [x.device] if x.device.type == "cuda" else []
    model = copy.deepcopy(state.model)
    with torch.random.fork_rng(devices), observation.observed(model) as trace:
        outputs = model(x)
    for layer, (_, output) in trace.calls.items():
        yield f"the output of {layer}", output
    loss = state.loss(outputs, labels)
    yield "the loss", loss.detach()
    loss.backward()
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None:
            yield f"the gradient of {name}", parameter.grad


def _updated(state: State) -> Iterator[tuple[str, Tensor]]:
    """Weights and running statistics."""
    for name, tensor in state.model.state_dict().items():
        yield f"the updated {name}", tensor


def _first_bad(named: Iterator[tuple[str, Tensor]]) -> str | None:
    return bad_batch.first_bad(
        (name, str(tensor.dtype).removeprefix("torch."), tensor.double().cpu().numpy()) for name, tensor in named
    )
