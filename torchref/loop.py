"""The training loop: epochs of steps, each followed by an evaluation, a row of metrics and a checkpoint."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset, UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Interrupted, NonFiniteLossError, RunDir
from torchref import environment, epoch, initial_weights, nonfinite, precision, schedules, shares, tensors
from torchref import resume as resumption
from torchref import state as states
from torchref.distributed import ALONE, Ranks
from torchref.evaluate import measure
from torchref.saver import Saver
from torchref.state import Plan, State

# Without log_every the losses are looked at this often: a diverged run should not go on to its epoch's end.
_SETTLE_EVERY = 100


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    *,
    resume: bool = False,
    policy: CheckpointPolicy = CheckpointPolicy(),  # noqa: B008  # frozen
    on_notice: Callable[[str], None] = lambda text: None,
    on_progress: Callable[..., None] = lambda **fields: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    should_stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Trains ``recipe`` on ``dataset``, made ready by jaxnn.data.prepare; returns the last row of metrics.

    Replaces what ``run`` holds, once recipe and data are known to fit; ``resume`` continues from its newest
    checkpoint, if there is one, to the same bits as without the break. ``policy`` says when there is a
    checkpoint. ``on_progress`` gets epoch, step (of the epoch),
    steps_per_epoch, running_loss (mean of the last ``recipe.log_every`` batches), accuracy (of the
    epoch so far) and losses (of the steps since the last call). ``ranks``: the processes that train the run together,
    of which the first writes it; what a run is does not depend on their number, rounding apart, so that another number
    can resume it. Raises UserError for a recipe that does not fit the data or PyTorch, NonFiniteLossError, and
    Interrupted.
    """
    if recipe.rng == "jax":
        raise UserError("rng 'jax' names JAX's own random streams, which PyTorch does not have; use rng 'torch'")
    given = recipe
    recipe = _fit_batch_size(given, len(dataset.train), on_notice)
    plan = states.plan(recipe, len(dataset.train))
    device = precision.device()
    with precision.activate(recipe.precision), contextlib.ExitStack() as stack:
        state = states.start(recipe, dataset, device, plan)
        ranks.require_shares(state.model, recipe, plan.smallest_batch)

        def take_up() -> dict[str, Any] | None:
            stack.enter_context(run.locked())
            return resumption.load(run, dataset, on_notice) if resume else None

        saved = ranks.from_first(take_up)
        if saved is not None:
            states.restore(state, saved, plan, run)
            if state.step > plan.steps:
                raise UserError(f"{run.path} has trained {state.step} steps already, which is more than {plan.steps}")
            if states.is_finished(state, plan):
                on_notice(f"{run.path} has already trained all {plan.steps} steps; nothing is left to do")
                if ranks.first:
                    run.write_metrics(state.rows)  # which may have been lost
                return state.rows[-1]
            state.rows = [row for row in state.rows if row["epoch"] < state.epoch]

        def begin() -> None:
            if saved is not None:
                run.write_recipe(given, "torch")
                run.write_metrics(state.rows)
                return
            if recipe.weights is not None:
                initial_weights.load(state.model, recipe, on_notice)
            run.create(given, "torch")
            run.write_environment(environment.describe(dataset, device, ranks.size))

        ranks.from_first(begin)
        train_set, test_set = (tensors.load(split, device) for split in (dataset.train, dataset.test))

        stack.enter_context(nonfinite.explained(recipe, dataset, run, plan, ranks))
        highest = max((row["test_accuracy"] for row in state.rows), default=-1.0)
        saver = stack.enter_context(Saver(run, state, policy, writes=ranks.first))
        step = shares.stepper(recipe, state, train_set, ranks)

        def stops() -> bool:
            return ranks.any(should_stop())

        while not states.is_finished(state, plan):
            learning_rate = _run_steps(
                recipe, plan, state, train_set, step, saver, report=on_progress, should_stop=stops
            )
            if state.step_in_epoch < plan.steps_in(state.epoch):
                saver.save()
                raise Interrupted(run.path, step=state.step)
            row = _train_row(recipe, state, len(dataset.train)) | {"learning_rate": learning_rate}
            row |= _test_row(recipe, state, test_set, len(dataset.classes), ranks)
            state.rows.append(row)
            if state.step_in_epoch == plan.steps_per_epoch:
                schedules.after_epoch(recipe.schedule, state.scheduler, row)
                state.next_epoch()
            if ranks.first:
                run.append_metrics(row)
            if states.is_finished(state, plan) or saver.due:
                saver.save()
            elif row["test_accuracy"] > highest:
                saver.keep_as_best()
            highest = max(highest, row["test_accuracy"])
            on_epoch(row)
            if stops() and not states.is_finished(state, plan):
                saver.save()
                raise Interrupted(run.path, step=state.step)
        return state.rows[-1]


def _fit_batch_size(recipe: Recipe, examples: int, on_notice: Callable[[str], None]) -> Recipe:
    if recipe.batch_size is None or recipe.batch_size <= examples:
        return recipe
    on_notice(f"batch_size {recipe.batch_size} is larger than the training split; using all {examples} examples")
    return recipe.replace(batch_size=examples)


def _run_steps(
    recipe: Recipe,
    plan: Plan,
    state: State,
    examples: tensors.Examples,
    step: shares.Step,
    saver: Saver,
    *,
    report: Callable[..., None],
    should_stop: Callable[[], bool],
) -> float:
    """Trains to the end of the epoch, or to the step at which it should stop; the learning rate of the last step."""
    began = time.perf_counter()
    count, skips = len(examples.labels), recipe.on_nan == "skip"
    steps = plan.steps_in(state.epoch)
    learning_rate = state.optimizer.param_groups[0]["lr"]
    reported = state.step_in_epoch
    for batch, places in epoch.batches_left(recipe, plan, state, examples):
        state.tally.add(*step(batch, places))
        learning_rate = state.optimizer.param_groups[0]["lr"]
        schedules.after_step(recipe.schedule, state.scheduler)
        state.step += 1
        state.step_in_epoch += 1
        if state.step_in_epoch % (recipe.log_every or _SETTLE_EVERY) == 0 or state.step_in_epoch == steps:
            state.tally.settle(state.epoch, skips=skips)
            _report(recipe, plan, state, count, reported, report)
            reported = state.step_in_epoch
        if should_stop():
            break
        if state.step_in_epoch < steps and saver.due:
            state.tally.settle(state.epoch, skips=skips)
            state.seconds += time.perf_counter() - began
            saver.save()
            began = time.perf_counter()
    state.tally.settle(state.epoch, skips=skips)
    state.seconds += time.perf_counter() - began
    return learning_rate


def _examples_done(recipe: Recipe, state: State, examples: int) -> int:
    return min(state.step_in_epoch * (recipe.batch_size or examples), examples)


def _report(recipe: Recipe, plan: Plan, state: State, examples: int, since: int, report: Callable[..., None]) -> None:
    """``since``: the steps of the epoch that were done at the last report."""
    logged = recipe.log_every if recipe.log_every and state.step_in_epoch % recipe.log_every == 0 else None
    report(
        epoch=state.epoch,
        step=state.step_in_epoch,
        steps_per_epoch=plan.steps_per_epoch,
        running_loss=state.tally.losses[-logged:].nanmean().item() if logged else None,
        accuracy=_measured(recipe, state, examples)[1],
        losses=state.tally.losses[since:].tolist(),
    )


def _train_row(recipe: Recipe, state: State, examples: int) -> dict[str, Any]:
    """What the epoch's steps measured on the way, before each update."""
    loss, accuracy = _measured(recipe, state, examples)
    if math.isnan(loss):
        raise NonFiniteLossError(
            epoch=state.epoch, step=state.step_in_epoch, loss=loss, cause="all its steps were skipped"
        )
    row = {
        "epoch": state.epoch,
        "step": state.step,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "seconds": state.seconds,
        "examples_per_second": _examples_done(recipe, state, examples) / state.seconds,
    }
    return row | ({"skipped_steps": state.tally.skipped} if recipe.on_nan == "skip" else {})


def _measured(recipe: Recipe, state: State, examples: int) -> tuple[float, float]:
    """Loss and accuracy of the epoch so far."""
    return state.tally.measured(
        batch_size=recipe.batch_size or examples,
        examples=_examples_done(recipe, state, examples),
        summed=recipe.loss.summed,
    )


def _test_row(recipe: Recipe, state: State, examples: tensors.Examples, classes: int, ranks: Ranks) -> dict[str, Any]:
    """The model after the epoch. Raises NonFiniteLossError if its last update spoiled it."""
    ranks.share_buffers(state.model)
    measured = measure(state.model, recipe, examples, classes, ranks)
    if not math.isfinite(measured["loss"]):
        raise NonFiniteLossError(epoch=state.epoch, step=state.step_in_epoch, loss=measured["loss"])
    return {
        "test_loss": measured["loss"],
        "test_accuracy": measured["accuracy"],
        "test_class_accuracy": measured["class_accuracy"],
    }
