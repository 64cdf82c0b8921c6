"""A recipe made ready to run on its data: the compiled program, the first state and each epoch's inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from jaxnn import data, evaluation, optim, step, streams
from jaxnn.data import Dataset
from jaxnn.data.order import Batching
from jaxnn.device_mesh import Devices, OneDevice
from jaxnn.member import Member as Member
from jaxnn.member import member as member
from jaxnn.nn import Conv2d
from jaxnn.nn.conv_method import prefers_blocks
from jaxnn.placement import Placed, fits, place
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe
from jaxnn.step import Program, Pytree, Record, Segment, TrainState
from jaxnn.together import Job, keeps_a_cpu_busy


class EpochPart(NamedTuple):
    """Steps ``first``, ``first + 1``, ... of an epoch, all of one batch size; ``examples`` of each, on the host."""

    first: int
    examples: Int[np.ndarray, "steps batch"]
    segment: Segment

    @property
    def stop(self) -> int:
        return self.first + len(self.examples)


@dataclass(frozen=True)
class Experiment:
    """One run, or several together: what stays the same from the first step to the last.

    ``recipe`` is the first run's; what is read from it is the same in all. Of several runs, states and records have
    an axis of runs in front (``stack``), over several devices if there is a ``sharding``. ``devices``: those that share
    a single run. ``in_one_call``: whether many steps, or evaluations, of resident data are one compiled call.
    """

    recipe: Recipe
    dtypes: Dtypes
    classes: int
    batches: Batching
    total: int
    members: tuple[Member, ...]
    rule: optim.Rule
    program: Program
    sharding: NamedSharding | None
    devices: Devices
    train: Placed
    test: Placed
    in_one_call: bool

    def epoch_steps(self, epoch: int) -> int:
        """The steps of ``epoch`` (from 1): all, unless the run ends inside it."""
        return min(self.batches.steps, self.total - (epoch - 1) * self.batches.steps)

    def epoch_parts(self, epoch: int) -> tuple[list[EpochPart], list[float]]:
        """Draws the batches and masks of ``epoch``; also returns the last learning rate of each run."""
        drawn = [self._draw(member, epoch) for member in self.members]
        first, _ = drawn[0]
        parts = [
            EpochPart(start, examples, self._segment([of_run[number][2] for of_run, _ in drawn]))
            for number, (start, examples, _) in enumerate(first)
        ]
        return parts, [learning_rate for _, learning_rate in drawn]

    def _draw(self, member: Member, epoch: int) -> tuple[list[EpochPart], float]:
        """The parts of a run's epoch, on the host."""
        batches, first = self.batches, (epoch - 1) * self.batches.steps
        order = member.stream.epoch_order(epoch, len(member.dataset.train), shuffle=self.recipe.shuffle)
        order = order.astype(np.int32)
        augment = data.augment.draw(member.recipe, epoch, len(order))
        full_masks, tail_masks = member.stream.masks(epoch, batches, self.program.dropout)
        hyperparameters = member.schedule.hyperparameters(first, self.epoch_steps(epoch))
        scalars = member.rule.scalars(first, hyperparameters)
        missing = batches.steps - self.epoch_steps(epoch)  # steps past the end of the run: only fill up the shape
        with np.errstate(over="ignore"):
            table = {
                name: np.pad(v, (0, missing), mode="edge").astype(self.dtypes.param) for name, v in scalars.items()
            }

        def part(start: int, examples: np.ndarray, masks: streams.Masks) -> EpochPart:
            rows = {name: values[start : start + len(examples)] for name, values in table.items()}
            drawn = None if augment is None else augment[start * batches.batch_size :][: examples.size]
            drawn = None if drawn is None else drawn.reshape(*examples.shape, 3)
            on_host: Any = (self.train.positions(examples), rows, masks, drawn)
            return EpochPart(start, examples, Segment(*on_host))

        cut = batches.full_steps * batches.batch_size
        parts = [part(0, order[:cut].reshape(batches.full_steps, batches.batch_size), full_masks)]
        if batches.tail:
            parts.append(part(batches.full_steps, order[cut : cut + batches.tail].reshape(1, batches.tail), tail_masks))
        return parts, float(hyperparameters["learning_rate"][-1])

    def start(self, states: Sequence[TrainState]) -> TrainState:
        """The states of all runs as one, on the devices as the step keeps it."""
        return self.devices.place_state(states[0]) if len(states) == 1 else self.stack(states)

    def _segment(self, segments: Sequence[Segment]) -> Segment:
        if len(segments) > 1:
            return self.stack(segments)
        order, scalars, masks, augment = segments[0]
        return Segment(*self.devices.place((order, scalars)), *self.devices.place((masks, augment), axis=1))

    def stack(self, trees: Sequence[Pytree]) -> Pytree:
        """The trees of arrays of all runs as one, on the device; that of a single run as it is."""
        if len(trees) == 1:
            return self.devices.place(trees[0])
        stacked = jax.tree.map(_stacked, *trees)
        return stacked if self.sharding is None else jax.device_put(stacked, self.sharding)

    def unstack(self, tree: Pytree) -> list[Pytree]:
        """The tree of each run, on the host, of arrays that every device has whole."""
        if len(self.members) == 1:
            return [self.devices.fetch(tree)]
        tree = jax.device_get(tree)
        return [jax.tree.map(lambda leaf: leaf[k], tree) for k in range(len(self.members))]  # noqa: B023  # used at once

    def states(self, state: TrainState) -> list[TrainState]:
        """The state of each run, as its checkpoint takes it."""
        return [self.devices.fetch_state(state)] if len(self.members) == 1 else self.unstack(state)

    def advance(
        self, state: TrainState, record: Record, part: EpochPart, start: int, stop: int
    ) -> tuple[TrainState, Record]:
        """Takes steps start..stop-1 of a part: one compiled call for all, or one for each."""
        splits = self.train.each_step(part.examples[start:stop])
        if self.in_one_call and self.train.resident:
            return self.program.train_steps(state, record, next(splits), part.segment, start, stop)
        for i, split in zip(range(start, stop), splits, strict=True):
            state, record = self.program.train_step(state, record, split, part.segment, i)
        return state, record

    def warm_up(self, state: TrainState, record: Record, part: EpochPart) -> None:
        """Compiles what ``advance`` calls for this part, on copies, so that no step's time includes it."""
        state, record = jax.tree.map(jnp.array, (state, record))
        jax.block_until_ready(self.advance(state, record, part, 0, 1))

    def evaluate(self, state: TrainState, split: Placed) -> list[evaluation.Evaluation]:
        """The evaluation of each run."""
        return evaluation.evaluate(
            self.program,
            state,
            split,
            runs=len(self.members),
            batch_size=self.recipe.eval_batch_size,
            classes=self.classes,
            in_one_call=self.in_one_call and split.resident,
        )


def join(
    members: Sequence[Member],
    dtypes: Dtypes,
    *,
    memory_limit: int | None = None,
    devices: Devices = OneDevice(),  # noqa: B008  # it has no state
) -> Experiment:
    """One program for all ``members``, which jaxnn.together has found to fit.

    A split of more than ``memory_limit`` bytes (None: half of the device's memory) is streamed if it is one run's.
    """
    first = members[0]
    recipe, dataset = first.recipe, first.dataset
    shared = all(other.dataset is dataset for other in members)
    datasets = [dataset] if shared else [other.dataset for other in members]
    classes = len(dataset.classes)
    mesh = _mesh(len(members))
    sharding = None if mesh is None else NamedSharding(mesh, PartitionSpec("runs"))
    of_data = NamedSharding(mesh, PartitionSpec()) if mesh is not None and shared else sharding

    def placed(splits: list[data.Split]) -> Placed:
        return place(splits, recipe.input, dtypes, memory_limit=memory_limit, sharding=of_data, devices=devices)

    program = step.build(
        first.model,
        recipe,
        first.rule,
        input_shape=dataset.input_shape,
        classes=classes,
        dtypes=dtypes,
        runs="one" if len(members) == 1 else "sharing data" if shared else "with own data",
        mesh=mesh,
        devices=devices,
    )
    return Experiment(
        recipe=recipe,
        dtypes=dtypes,
        classes=classes,
        batches=first.batches,
        total=first.total,
        members=tuple(members),
        rule=first.rule,
        program=program,
        sharding=sharding,
        devices=devices,
        train=placed([each.train for each in datasets]),
        test=placed([each.test for each in datasets]),
        in_one_call=_prefers_one_call(first, devices),
    )


def build(
    recipe: Recipe,
    dataset: Dataset,
    dtypes: Dtypes,
    *,
    memory_limit: int | None = None,
    devices: Devices = OneDevice(),  # noqa: B008  # it has no state
) -> tuple[Experiment, TrainState]:
    """The experiment of a single run, and its state before the first step."""
    single = member(recipe, dataset, dtypes, devices.shape)
    joined = join([single], dtypes, memory_limit=memory_limit, devices=devices)
    return joined, joined.start([step.initial_state(single.model, single.rule)])


def empty_record(steps: int, dtypes: Dtypes) -> Record:
    """The record of a part none of whose steps is done."""
    return Record(jnp.full(steps, jnp.nan, dtypes.param), jnp.zeros(steps, jnp.int32))


def pays_together(jobs: Sequence[Job], memory_limit: int | None = None) -> bool:
    """Whether ``jobs``, which can share a program, are faster in one than in turn: never if their data are streamed."""
    datasets = list({id(job.dataset): job.dataset for job in jobs}.values())
    resident = all(fits([getattr(each, split) for each in datasets], memory_limit) for split in ("train", "test"))
    return resident and not (jax.default_backend() == "cpu" and keeps_a_cpu_busy(jobs[0]))


def _mesh(runs: int) -> Mesh | None:
    """As many of the local devices as divide ``runs``; None if that is one."""
    devices = jax.local_devices()
    count = math.gcd(runs, len(devices))
    return Mesh(np.array(devices[:count]), ("runs",)) if count > 1 else None


def _convolutions(model: nnx.Module) -> list[Conv2d]:
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, Conv2d)]


def _stacked(*leaves: Any) -> jax.Array:
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return jnp.asarray(np.stack(leaves)) if on_host else jnp.stack(leaves)


def _prefers_one_call(of: Member, devices: Devices) -> bool:
    if of.recipe.dispatch != "auto":
        return of.recipe.dispatch == "epoch"
    # Inside a loop, XLA's own CPU convolutions use one thread; step by step they use all.
    by_blocks = all(
        conv.plain and prefers_blocks(conv.kernel.shape, (1, 1), tile=(1, 1)) for conv in _convolutions(of.model)
    )
    return by_blocks or devices.shape.devices > 1 or jax.default_backend() != "cpu"
