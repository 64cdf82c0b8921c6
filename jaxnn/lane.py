"""One run as the loop sees it: its position, its rows of metrics, its run directory and its checkpoints."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import experiment, step
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.errors import NonFiniteLossError, UserError
from jaxnn.evaluation import Evaluation
from jaxnn.experiment import Member
from jaxnn.position import Position, require_valid
from jaxnn.precision import Dtypes
from jaxnn.run_dir import RunDir
from jaxnn.step import Record, TrainState
from jaxnn.together import Job

Metrics = dict[str, Any]


@dataclass(eq=False)
class Lane:
    """``state`` is where the loop starts from; it consumes it. ``failure``: why the run has stopped alone.

    ``filler``: no run, but what keeps the program of several as wide as it was.
    """

    member: Member
    run: RunDir
    checkpoints: Checkpoints
    dtypes: Dtypes
    state: TrainState = field(init=False)
    position: Position = field(init=False)
    rows: list[Metrics] = field(default_factory=list)
    filler: bool = False
    failure: NonFiniteLossError | None = None
    improved: bool = field(default=False, init=False)
    """Whether the last row has the highest test accuracy so far."""
    _highest: float = field(default=-1.0, init=False)
    _best: Saved | None = None  # not written yet

    def __post_init__(self) -> None:
        self.state = step.initial_state(self.member.model, self.member.rule)
        self._start(1)

    def _start(self, epoch: int) -> None:
        steps, stream = self.member.batches.steps, self.member.stream.state()
        self.position = Position.at_epoch(epoch, steps, stream, self.dtypes)

    @property
    def going(self) -> bool:
        return self.failure is None and not self.filler

    @property
    def steps_done(self) -> int:
        return (self.position.epoch - 1) * self.member.batches.steps + self.position.done

    @property
    def finished(self) -> bool:
        """Whether all steps are taken and evaluated."""
        done = self.steps_done >= self.member.total
        return done and bool(self.rows) and self.rows[-1]["step"] == self.steps_done

    def record(self, rows: slice) -> Record:
        """What the steps ``rows`` of the epoch have measured so far."""
        on_host: Any = (self.position.loss[rows], self.position.correct[rows])
        return Record(*on_host)

    def advance(self, record: Record, rows: slice, target: int, seconds: float) -> None:
        """Notes that the steps before ``target`` are taken, in ``seconds``; fails if a loss is not finite."""
        if not self.going:
            return
        self.position.seconds += seconds
        self.position.loss[rows], self.position.correct[rows] = record
        try:
            if self.member.recipe.on_nan == "stop":
                self.position.require_finite(target)
        except NonFiniteLossError as error:
            self._fail(error)
        else:
            self.position.done = target

    def running_loss(self, steps: int) -> float:
        """The mean loss of the last ``steps`` steps."""
        losses = self.position.loss[self.position.done - steps : self.position.done]
        losses = losses[~np.isnan(losses)]  # of skipped steps
        return float(np.mean(losses, dtype=np.float64)) if len(losses) else math.nan

    def end_epoch(self, tested: Evaluation, learning_rate: float) -> None:
        """Writes the row of metrics and goes on to the next epoch; fails if the test loss is not finite."""
        position, batches = self.position, self.member.batches
        if not np.isfinite(tested.loss):  # the last update spoiled the weights
            self._fail(NonFiniteLossError(epoch=position.epoch, step=position.done, loss=tested.loss))
            return
        try:
            measured: Metrics = position.measured(batches, summed=self.member.recipe.loss.summed)
        except NonFiniteLossError as error:
            self._fail(error)
            return
        if self.member.recipe.on_nan == "skip":
            measured["skipped_steps"] = position.skipped()
        row = {
            "epoch": position.epoch,
            "step": self.steps_done,
            **measured,
            "test_loss": tested.loss,
            "test_accuracy": tested.accuracy,
            "test_class_accuracy": tested.class_accuracy,
            "learning_rate": learning_rate,
        }
        self.rows.append(row)
        self.improved = tested.accuracy > self._highest
        self._highest = max(self._highest, tested.accuracy)
        self.run.append_metrics(row)
        if position.done == batches.steps:
            self.member.schedule.end_epoch(row)
            self._start(position.epoch + 1)

    def keep(self, state: TrainState) -> None:
        """Keeps ``state`` as the best, to be saved with the next checkpoint."""
        self._best = self._snapshot(state).copy()

    def save(self, state: TrainState) -> None:
        """Saves a checkpoint, and the best state before it if that has none yet.

        Not if the weights are spoiled (the next loss says so), and none twice.
        """
        self._save_best()
        if all(map(_finite, jax.tree.leaves(state.params))):
            self._write(self._snapshot(state))

    def _save_best(self) -> None:
        best, self._best = self._best, None
        if best is not None:
            self._write(best)

    def _write(self, saved: Saved) -> None:
        self.run.flush_metrics()
        if saved.step not in self.checkpoints.steps:
            self.checkpoints.save(saved)

    def _fail(self, error: NonFiniteLossError) -> None:
        self.failure = error
        self._save_best()

    def _snapshot(self, state: TrainState) -> Saved:
        position = self.position.record() | {"schedule": self.member.schedule.state()}
        evaluated = bool(self.rows) and self.rows[-1]["step"] == self.steps_done
        accuracy = self.rows[-1]["test_accuracy"] if evaluated else None
        return Saved(self.steps_done, tuple(state), self.position.arrays(), position, accuracy)

    def rewind(self, notice: Callable[[str], None]) -> None:
        """Goes to the newest checkpoint that can be read; stays at the start if there is none."""
        saved = self.checkpoints.newest(notice, tuple(self.state), self.position.arrays())
        if saved is not None:
            self._go_to(saved)

    def restore(self, notice: Callable[[str], None]) -> None:
        """``rewind``, with the rows of metrics."""
        self.rewind(notice)
        self.rows = self.run.read_metrics()
        if not all(isinstance(row.get("test_accuracy"), int | float) for row in self.rows):
            raise UserError(
                f"{self.run.metrics_file} is damaged: a row has no test_accuracy; train anew with --overwrite"
            )
        if self.steps_done > self.member.total:
            raise UserError(
                f"{self.run.path} has trained {self.steps_done} steps already, which is more than {self.member.total}"
            )
        self._drop_rows()
        if not self.finished and self.position.done == 0 and self.steps_done == self.member.total:
            raise UserError(f"{self.run.metrics_file} has lost its last row; `jaxnn evaluate {self.run.path}` works")
        if lost := self._lost_rows():
            rows = "a row, that" if len(lost) == 1 else f"{len(lost)} rows, the first that"
            notice(f"{self.run.metrics_file} has lost {rows} of epoch {lost[0]}; training goes on without")
        self.run.write_recipe(self.member.recipe, "jax")
        self.run.write_metrics(self.rows)

    def reaches(self, step: int, notice: Callable[[str], None]) -> bool:
        """Whether the run is after ``step`` steps, or has a readable checkpoint of then, to which it goes back."""
        if self.steps_done == step:
            return True
        if step not in self.checkpoints.steps:
            return False
        try:
            saved = self.checkpoints.restore(step, tuple(self.state), self.position.arrays())
        except UserError as damaged:
            notice(f"{damaged}; {self.run.path} goes on from step {self.steps_done} by itself")
            return False
        self._go_to(saved)
        self._drop_rows()
        self.run.write_metrics(self.rows)
        return True

    def _go_to(self, saved: Saved) -> None:
        where, rng = self.checkpoints.folder / str(saved.step), self.member.recipe.rng
        require_valid(saved.position, where, step=saved.step, batches=self.member.batches, rng=rng)
        self.checkpoints.discard_after(saved.step)
        self.state = TrainState(*jax.tree.map(jnp.asarray, saved.state))
        self.member.stream.restore(saved.position["stream"])
        self.member.schedule.restore(saved.position["schedule"])
        # Of steps that were taken elsewhere nothing is known: their losses are as those of steps to come.
        self.position = Position.from_record(saved.position, **(saved.record or self.position.arrays()))

    def _lost_rows(self) -> list[int]:
        """The epochs whose rows are not there; an imported run may have none of what was trained elsewhere."""
        there = {row["epoch"] for row in self.rows}
        return sorted(set(range(min(there), self.position.epoch)) - there) if there else []

    def _drop_rows(self) -> None:
        """Drops the rows of what will be trained again."""
        self.rows = [row for row in self.rows if row["step"] <= self.steps_done]
        if not self.finished:
            self.rows = [row for row in self.rows if row["epoch"] < self.position.epoch]
        self._highest = max((row["test_accuracy"] for row in self.rows), default=-1.0)


def _finite(leaf: np.ndarray | jax.Array) -> bool:
    """Of an array on the host, or on the devices of several processes."""
    return bool(np.isfinite(leaf).all() if isinstance(leaf, np.ndarray) else jnp.isfinite(leaf).all())


def filler(job: Job, beside: Lane, dtypes: Dtypes) -> Lane:
    """What stands where a run was that has ended or is at another step: a program for fewer runs adds in another order.

    Nothing comes of it.
    """
    return Lane(experiment.member(job.recipe, job.dataset, dtypes), beside.run, beside.checkpoints, dtypes, filler=True)


def in_step(lanes: list[Lane], notice: Callable[[str], None]) -> list[list[Lane]]:
    """The runs that can go on from the same step, together."""
    groups = []
    while lanes:
        step = min(lane.steps_done for lane in lanes)
        groups.append([lane for lane in lanes if lane.reaches(step, notice)])
        lanes = [lane for lane in lanes if lane not in groups[-1]]
    return groups
