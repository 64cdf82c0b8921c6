"""The training loop: the only one, for every recipe, device, number of runs and way to run an epoch."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from jaxnn import device_mesh, environment, experiment, hosts, nonfinite, precision
from jaxnn.checkpoint import Checkpoints, saved_steps
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset
from jaxnn.errors import Interrupted, NonFiniteLossError, UserError
from jaxnn.experiment import EpochPart, Experiment
from jaxnn.followed_run import FollowedRun
from jaxnn.hooks import Hooks
from jaxnn.interop import initial_weights
from jaxnn.lane import Lane, Metrics, filler, in_step
from jaxnn.mesh_shape import MeshShape
from jaxnn.position import Position
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import TrainState
from jaxnn.together import Job

_PAUSE_SECONDS = 0.1, 1.0  # between looks at what the steps measured: each costs as much as many small steps
_FIRST_PAUSE = 8  # steps, by which their time is known


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    *,
    resume: bool = False,
    policy: CheckpointPolicy = CheckpointPolicy(),  # noqa: B008  # frozen
    memory_limit: int | None = None,
    mesh: MeshShape | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008  # frozen
) -> Metrics:
    """Trains ``recipe`` on the prepared ``dataset``, writes ``run`` as it goes, returns the last row of metrics.

    ``policy`` says when there is a checkpoint. ``memory_limit``: bytes above which a split is streamed
    (None: half of the device's memory). ``mesh``: the devices that share the work (None: one, or all of several
    processes, which all call this alike). Raises NonFiniteLossError, which leaves the last good
    checkpoint, Interrupted after ``hooks.should_stop()``, which leaves one of that moment, and UserError if another
    process trains there.
    """
    [outcome] = train_together(
        [Job(recipe, dataset, run)],
        resume=resume,
        policy=policy,
        memory_limit=memory_limit,
        mesh=mesh,
        hooks=hooks,
    )
    if isinstance(outcome, NonFiniteLossError):
        raise outcome
    return outcome


def train_together(
    jobs: Sequence[Job],
    *,
    resume: bool = False,
    policy: CheckpointPolicy = CheckpointPolicy(),  # noqa: B008  # frozen
    memory_limit: int | None = None,
    mesh: MeshShape | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008  # frozen
) -> list[Metrics | NonFiniteLossError]:
    """``train`` for several runs in one compiled program, which jaxnn.together says they can share.

    Returns the last row of each, or why it stopped; the others go on without it. Runs are resumed together from the
    newest step that all of them have; those without a common one in turn. Only a single run is shared by several
    devices of a ``mesh``.
    """
    if not hosts.is_first():
        jobs = [job._replace(run=FollowedRun(job.run.path)) for job in jobs]
    with precision.activate(jobs[0].recipe.precision) as dtypes, contextlib.ExitStack() as stack:
        devices = device_mesh.build(mesh)
        members = [experiment.member(job.recipe, job.dataset, dtypes, devices.shape) for job in jobs]
        batches, wanted = members[0].batches, jobs[0].recipe.batch_size
        if wanted is not None and batches.batch_size < wanted:
            hooks.notice(f"batch size {wanted} shrinks to {batches.batch_size}, the whole training set")
        for job, member in zip(jobs, members, strict=True):
            goes_on = resume and job.run.exists() and saved_steps(job.run.checkpoints)
            if job.recipe.weights is not None and not goes_on:
                initial_weights.load(member.model, job.recipe, hooks.notice)
        for job in jobs:
            stack.enter_context(job.run.locked())
        keep = max(policy.keep, min(len(jobs), 2))  # a crash leaves some runs a checkpoint behind the others
        lanes = [
            Lane(member, job.run, stack.enter_context(Checkpoints(job.run.checkpoints, keep=keep)), dtypes)
            for job, member in zip(jobs, members, strict=True)
        ]
        known = [resume and job.run.exists() for job in jobs]
        for job in jobs:
            recipe = job.recipe.replace(data_dir=None).to_json()
            hosts.require_same("the recipe or its data", recipe, job.dataset.fingerprint, *map(str, known))
        hosts.wait("the run directory")  # before anything is written there
        for job, lane in itertools.compress(zip(jobs, lanes, strict=True), known):
            job.run.require_data(job.dataset)
            if job.recipe.batch_norm == "local":
                job.run.require_shares(devices.shape.devices)
            lane.restore(hooks.notice)
            if lane.finished:
                hooks.notice(f"{job.run.path} is finished already, after {lane.steps_done} steps")
        todo = [lane for lane in lanes if not lane.finished]
        for job, old in zip(jobs, known, strict=True):
            if not old:
                job.run.create(job.recipe, "jax")
            if not old or job.run.data_fingerprint() is None:  # imported without its data, which it has from now on
                program = {"trained_together": len(todo), "memory_limit": memory_limit}  # another one rounds otherwise
                job.run.write_environment(environment.describe(job.dataset, devices.shape) | program)
        for group in in_step(todo, hooks.notice):
            together = max(lane.run.trained_together() for lane in group) if len(jobs) > 1 else 1
            fillers = [filler(jobs[0], group[0], dtypes) for _ in range(together - len(group))]
            group.extend(fillers)
            of_group = [lane.member for lane in group]
            joined = experiment.join(of_group, dtypes, memory_limit=memory_limit, devices=devices)
            _Loop(joined, group, hooks, policy).train()
        for job, lane in zip(jobs, lanes, strict=True):
            if lane.failure is not None:
                lane.failure = nonfinite.explain(job, lane, dtypes, devices.shape, memory_limit=memory_limit)
        return [lane.failure or lane.rows[-1] for lane in lanes]


def evaluate(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    *,
    split: str = "test",
    checkpoint: Choice = "newest",
    notice: Callable[[str], None] = Hooks.notice,
) -> Metrics:
    """Loss, accuracies and confusion matrix of the run's checkpoint chosen on a split of ``dataset``."""
    with precision.activate(recipe.precision) as dtypes, Checkpoints(run.checkpoints) as checkpoints:
        prepared, state = experiment.build(recipe, dataset, dtypes)
        saved = checkpoints.find(checkpoint, notice, tuple(state))
        if saved is None:
            raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
        state = TrainState(*saved.state)
        return prepared.evaluate(state, prepared.train if split == "train" else prepared.test)[0].summary()


@dataclass
class _Loop:
    """The runs that are still going (``going``) are in step: all at the same step of the same epoch."""

    experiment: Experiment
    lanes: list[Lane]
    hooks: Hooks
    policy: CheckpointPolicy
    state: TrainState = field(init=False)
    first_epoch: int = field(init=False)  # of this process
    seconds_a_step: float = math.inf
    saved_at: float = field(default_factory=time.monotonic)
    since_saved: float = 0.0  # seconds; this and the next are what all processes agree upon
    should_stop: bool = False

    def __post_init__(self) -> None:
        self.state = self.experiment.start([lane.state for lane in self.lanes])
        self.first_epoch = self.position.epoch
        for lane in self.going:
            self.hooks.started(lane.run, lane.steps_done)

    @property
    def going(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.going]

    @property
    def position(self) -> Position:
        return self.going[0].position

    @property
    def steps_done(self) -> int:
        return self.going[0].steps_done

    def train(self) -> None:
        while self.going and not self.going[0].finished:
            learning_rates = self._train_epoch()
            if self.going:
                self._end_epoch(learning_rates)

    def _train_epoch(self) -> list[float]:
        """Takes the steps of the epoch that are still to do; returns the last learning rate of each run."""
        epoch = self.position.epoch
        parts, learning_rates = self.experiment.epoch_parts(epoch)
        last = self.experiment.epoch_steps(epoch)
        for part in parts:
            if self.going and self.position.done < min(part.stop, last):
                self._train_part(part, min(part.stop, last))
        return learning_rates

    def _train_part(self, part: EpochPart, stop: int) -> None:
        rows = slice(part.first, part.stop)
        record = self.experiment.stack([lane.record(rows) for lane in self.lanes])
        if self.position.epoch == self.first_epoch:
            self.experiment.warm_up(self.state, record, part)
        while self.going and self.position.done < stop:
            done = self.position.done
            target = min(stop, self._next_pause())
            began = time.perf_counter()
            self.state, record = self.experiment.advance(
                self.state, record, part, done - part.first, target - part.first
            )
            jax.block_until_ready((self.state, record))
            seconds = time.perf_counter() - began
            self.seconds_a_step = seconds / (target - done)
            for lane, measured in zip(self.lanes, self.experiment.unstack(record), strict=True):
                lane.advance(measured, rows, target, seconds)
            if self.going:
                self._pause(done)

    def _agree(self) -> None:
        """Processes that share a run must take the same steps in one call, save and stop at the same step."""
        now = time.monotonic() - self.saved_at, float(self.hooks.should_stop())
        self.seconds_a_step, self.since_saved, stop = hosts.largest(self.seconds_a_step, *now)
        self.should_stop = stop > 0

    def _next_pause(self) -> int:
        """The step of the epoch at which to report, save or look for an interruption next."""
        done, log_every = self.position.done, self.experiment.recipe.log_every
        if self.seconds_a_step == math.inf:
            often_enough = _FIRST_PAUSE
        else:
            least, most = (max(int(seconds / self.seconds_a_step), 1) for seconds in _PAUSE_SECONDS)
            often_enough = min(max(self.experiment.batches.steps // 20, least), most)
        pauses = [(done // every + 1) * every for every in (often_enough, log_every) if every]
        return int(min(*pauses, done + self.policy.next_step(self.steps_done) - self.steps_done))

    def _pause(self, since: int) -> None:
        """Reports, saves, or ends, if it is time; ``since``: the steps of the epoch done at the last pause."""
        position, recipe, batches = self.position, self.experiment.recipe, self.experiment.batches
        running_loss = None
        if recipe.log_every is None or position.done % recipe.log_every == 0:
            running = [lane.running_loss(recipe.log_every or position.done - since) for lane in self.going]
            running_loss = float(np.mean(running)) if recipe.log_every else None
            for lane, loss in zip(self.going, running, strict=True):
                self.hooks.measured(lane.run, self.steps_done, {"running_loss": loss})
        self.hooks.progress(
            epoch=position.epoch,
            step=position.done,
            steps_per_epoch=batches.steps,
            running_loss=running_loss,
            accuracy=float(np.mean([lane.position.accuracy(batches) for lane in self.going])),
            losses=np.mean([lane.position.loss[since : position.done] for lane in self.going], axis=0).tolist(),
        )
        self._agree()
        if position.done < self.experiment.epoch_steps(position.epoch):  # else the evaluation comes first
            self._save_if_due()
            self._stop_if_asked()

    def _end_epoch(self, learning_rates: list[float]) -> None:
        """Evaluates, writes the rows of metrics, and saves a checkpoint unless there is a very recent one."""
        tested = self.experiment.evaluate(self.state, self.experiment.test)
        for lane, of_lane, learning_rate in zip(self.lanes, tested, learning_rates, strict=True):
            if lane.going:
                lane.end_epoch(of_lane, learning_rate)
        if not self.going:
            return
        for lane in self.going:
            self.hooks.measured(lane.run, lane.rows[-1]["step"], lane.rows[-1])
        self.hooks.epoch([lane.rows[-1] for lane in self.going])
        self._agree()
        if self.going[0].finished:
            self._save()
            return
        if not self._save_if_due() and any(lane.improved for lane in self.going):
            for lane, state in zip(self.lanes, self.experiment.states(self.state), strict=True):
                if lane.going and lane.improved:
                    lane.keep(state)
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.should_stop:
            self._save()
            raise Interrupted(self.going[0].run.path, step=self.steps_done)

    def _save_if_due(self) -> bool:
        due = self.policy.due(self.steps_done, seconds=self.since_saved)
        if due:
            self._save()
        return due

    def _save(self) -> None:
        for lane, state in zip(self.lanes, self.experiment.states(self.state), strict=True):
            if lane.going:
                lane.save(state)
        self.saved_at, self.since_saved = time.monotonic(), 0.0
