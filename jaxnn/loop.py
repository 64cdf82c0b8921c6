"""The training loop: the only one, for every recipe, device and way to run an epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import environment, experiment, precision
from jaxnn.checkpoint import Checkpoints
from jaxnn.data import Dataset
from jaxnn.errors import Interrupted, NonFiniteLossError, UserError
from jaxnn.experiment import EpochPart, Experiment
from jaxnn.position import Position
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import Record, TrainState

Metrics = dict[str, Any]

_CHECKPOINT_SECONDS = 1.0  # epochs shorter than this share a checkpoint


def _ignore(*_: Any, **__: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the loop tells its caller, and asks.

    ``progress`` gets epoch, step, steps_per_epoch, accuracy (on the epoch's examples so far) and
    running_loss: every ``recipe.log_every`` steps the mean over that many batches, else None.
    """

    notice: Callable[[str], None] = _ignore
    progress: Callable[..., None] = _ignore
    epoch: Callable[[Metrics], None] = _ignore
    should_stop: Callable[[], bool] = lambda: False


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    *,
    resume: bool = False,
    checkpoint_every: int | None = None,
    memory_limit: int | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008  # frozen
) -> Metrics:
    """Trains ``recipe`` on the prepared ``dataset``, writes ``run`` as it goes, returns the last row of metrics.

    ``checkpoint_every``: steps between checkpoints inside epochs; one follows each epoch in any case
    (at most one a second, and always the last). ``memory_limit``: bytes above which a split is streamed
    (None: half of the device's memory). Raises NonFiniteLossError, which leaves the last good
    checkpoint, and Interrupted after ``hooks.should_stop()``, which leaves one of that moment.
    """
    with precision.activate(recipe.precision) as dtypes:
        prepared, state = experiment.build(recipe, dataset, dtypes, memory_limit=memory_limit)
        if recipe.batch_size is not None and prepared.batches.batch_size < recipe.batch_size:
            hooks.notice(
                f"batch size {recipe.batch_size} shrinks to {prepared.batches.batch_size}, the whole training set"
            )
        started = resume and run.exists()
        if started:
            run.require_data(dataset.name, dataset.fingerprint)
        else:
            run.create(recipe, "jax")
            run.write_environment(environment.describe(dataset))
        with Checkpoints(run.checkpoints) as checkpoints:
            loop = _Loop(prepared, run, checkpoints, hooks, checkpoint_every, state)
            if started:
                loop.restore()
            return loop.train()


def evaluate(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    *,
    split: str = "test",
    notice: Callable[[str], None] = _ignore,
) -> Metrics:
    """Loss, accuracies and confusion matrix of the run's newest readable checkpoint on a split of ``dataset``."""
    with precision.activate(recipe.precision) as dtypes, Checkpoints(run.checkpoints) as checkpoints:
        prepared, state = experiment.build(recipe, dataset, dtypes)
        saved = checkpoints.newest(_arrays(state, Position.at_epoch(1, prepared.batches.steps, {}, dtypes)), notice)
        if saved is None:
            raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
        state = TrainState(*saved[1]["state"])
        return prepared.evaluate(state, prepared.train if split == "train" else prepared.test).summary()


@dataclass
class _Loop:
    experiment: Experiment
    run: RunDir
    checkpoints: Checkpoints
    hooks: Hooks
    checkpoint_every: int | None
    state: TrainState
    position: Position = field(init=False)
    first_epoch: int = 1  # of this process
    rows: list[Metrics] = field(default_factory=list)
    saved_at: float = -math.inf

    def __post_init__(self) -> None:
        self.position = self._start_of(1)

    def _start_of(self, epoch: int) -> Position:
        prepared = self.experiment
        return Position.at_epoch(epoch, prepared.batches.steps, prepared.stream.state(), prepared.dtypes)

    @property
    def steps_done(self) -> int:
        return (self.position.epoch - 1) * self.experiment.batches.steps + self.position.done

    def train(self) -> Metrics:
        if self.is_finished():
            self.hooks.notice(f"{self.run.path} is finished already, after {self.steps_done} steps")
            return self.rows[-1]
        while not self.is_finished():
            learning_rate = self._train_epoch()
            self._end_epoch(learning_rate)
        return self.rows[-1]

    def _train_epoch(self) -> float:
        """Takes the steps of the epoch that are still to do; returns the last learning rate."""
        parts, learning_rate = self.experiment.epoch_parts(self.position.epoch)
        last = self.experiment.epoch_steps(self.position.epoch)
        for part in parts:
            if self.position.done < min(part.stop, last):
                self._train_part(part, min(part.stop, last))
        return learning_rate

    def _train_part(self, part: EpochPart, stop: int) -> None:
        position, rows = self.position, slice(part.first, part.stop)
        record = Record(jnp.asarray(position.loss[rows]), jnp.asarray(position.correct[rows]))
        if position.epoch == self.first_epoch:
            self.experiment.warm_up(self.state, record, part)
        while position.done < stop:
            target = min(stop, self._next_pause())
            began = time.perf_counter()
            self.state, record = self.experiment.advance(
                self.state, record, part, position.done - part.first, target - part.first
            )
            jax.block_until_ready((self.state, record))
            position.seconds += time.perf_counter() - began
            position.loss[rows], position.correct[rows] = record
            position.require_finite(target)
            position.done = target
            self._pause()

    def _next_pause(self) -> int:
        """The step of the epoch at which to report, save or look for an interruption next."""
        done, log_every = self.position.done, self.experiment.recipe.log_every
        pauses = [_next_multiple(done, log_every or max(self.experiment.batches.steps // 20, 1))]
        if self.checkpoint_every:
            pauses.append(done + _next_multiple(self.steps_done, self.checkpoint_every) - self.steps_done)
        return min(pauses)

    def _pause(self) -> None:
        position, recipe, batches = self.position, self.experiment.recipe, self.experiment.batches
        running_loss = None
        if recipe.log_every and position.done % recipe.log_every == 0:
            latest = position.loss[position.done - recipe.log_every : position.done]
            running_loss = float(np.mean(latest, dtype=np.float64))
        self.hooks.progress(
            epoch=position.epoch,
            step=position.done,
            steps_per_epoch=batches.steps,
            running_loss=running_loss,
            accuracy=position.accuracy(batches),
        )
        if self.checkpoint_every and self.steps_done % self.checkpoint_every == 0:
            self._save()
        if self.steps_done < self.experiment.total and self.hooks.should_stop():
            self._save()
            raise Interrupted(self.run.path, step=self.steps_done)

    def _end_epoch(self, learning_rate: float) -> None:
        """Evaluates, writes the row of metrics, and saves a checkpoint unless there is a very recent one."""
        row = self._row(learning_rate)
        self.rows.append(row)
        self.run.append_metrics(row)
        finished = self.steps_done >= self.experiment.total
        if self.position.done == self.experiment.batches.steps:
            self.experiment.schedule.end_epoch(row)
            self.position = self._start_of(self.position.epoch + 1)
        if finished or time.monotonic() - self.saved_at >= _CHECKPOINT_SECONDS:
            self._save()
        self.hooks.epoch(row)

    def _row(self, learning_rate: float) -> Metrics:
        position, prepared = self.position, self.experiment
        tested = prepared.evaluate(self.state, prepared.test)
        if not math.isfinite(tested.loss):  # the last update spoiled the weights
            raise NonFiniteLossError(epoch=position.epoch, step=position.done, loss=tested.loss)
        return {
            "epoch": position.epoch,
            "step": self.steps_done,
            **position.measured(prepared.batches, summed=prepared.recipe.loss.summed),
            "test_loss": tested.loss,
            "test_accuracy": tested.accuracy,
            "test_class_accuracy": tested.class_accuracy,
            "learning_rate": learning_rate,
        }

    def _save(self) -> None:
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(self.state.params))
        if finite and self.steps_done not in self.checkpoints.steps:  # if not finite, the next loss will say so
            position = self.position.record() | {"schedule": self.experiment.schedule.state()}
            self.checkpoints.save(self.steps_done, _arrays(self.state, self.position), position)
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Goes to the newest checkpoint that can be read; stays at the start if there is none."""
        saved = self.checkpoints.newest(_arrays(self.state, self.position), self.hooks.notice)
        rows = self.run.read_metrics()
        if saved is not None:
            step, arrays, position = saved
            self.checkpoints.discard_after(step)
            self.state = TrainState(*jax.tree.map(jnp.asarray, arrays["state"]))
            self.experiment.stream.restore(position["stream"])
            self.experiment.schedule.restore(position["schedule"])
            self.position = Position.from_record(position, arrays["loss"], arrays["correct"])
        total = self.experiment.total
        if self.steps_done > total:
            raise UserError(f"{self.run.path} has trained {self.steps_done} steps already, which is more than {total}")
        self.first_epoch = self.position.epoch
        self.rows = [row for row in rows if row["step"] <= self.steps_done]
        if not self.is_finished():
            self.rows = [row for row in self.rows if row["epoch"] < self.position.epoch]
            if self.position.done == 0 and self.steps_done == total:
                raise UserError(
                    f"{self.run.metrics_file} has lost its last row; `jaxnn evaluate {self.run.path}` works"
                )
        self.run.write_recipe(self.experiment.recipe, "jax")
        self.run.write_metrics(self.rows)

    def is_finished(self) -> bool:
        """Whether all steps are taken and evaluated."""
        done = self.steps_done >= self.experiment.total
        return done and bool(self.rows) and self.rows[-1]["step"] == self.steps_done


def _arrays(state: TrainState, position: Position) -> dict[str, Any]:
    """What a checkpoint holds as arrays."""
    return {"state": tuple(state), "loss": position.loss, "correct": position.correct}


def _next_multiple(n: int, k: int) -> int:
    """The smallest multiple of k above n."""
    return (n // k + 1) * k
