"""A recipe made ready to run on its data: the compiled program, the first state and each epoch's inputs."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int

from jaxnn import evaluation, models, optim, schedules, step, streams
from jaxnn.data import Dataset
from jaxnn.data.order import Batching, batching, total_steps
from jaxnn.nn import Conv2d
from jaxnn.nn.conv_method import prefers_blocks
from jaxnn.placement import Placed, place
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe
from jaxnn.step import Program, Record, Segment, TrainState


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
    """What stays the same from the first step of a run to the last (the stream and the schedule advance).

    ``in_one_call``: whether many steps, or evaluations, of resident data are one compiled call.
    """

    recipe: Recipe
    dtypes: Dtypes
    classes: int
    batches: Batching
    total: int
    stream: streams.Stream
    rule: optim.Rule
    schedule: schedules.Schedule
    program: Program
    train: Placed
    test: Placed
    in_one_call: bool

    def epoch_steps(self, epoch: int) -> int:
        """The steps of ``epoch`` (from 1): all, unless the run ends inside it."""
        return min(self.batches.steps, self.total - (epoch - 1) * self.batches.steps)

    def epoch_parts(self, epoch: int) -> tuple[list[EpochPart], float]:
        """Draws the batches and masks of ``epoch``; also returns its last learning rate."""
        batches, first = self.batches, (epoch - 1) * self.batches.steps
        order = self.stream.epoch_order(epoch, len(self.train.labels), shuffle=self.recipe.shuffle).astype(np.int32)
        full_masks, tail_masks = self.stream.masks(epoch, batches, self.program.dropout)
        hyperparameters = self.schedule.hyperparameters(first, self.epoch_steps(epoch))
        scalars = self.rule.scalars(first, hyperparameters)
        missing = batches.steps - self.epoch_steps(epoch)  # steps past the end of the run: only fill up the shape
        table = {name: np.pad(v, (0, missing), mode="edge").astype(self.dtypes.param) for name, v in scalars.items()}

        def part(start: int, examples: np.ndarray, masks: streams.Masks) -> EpochPart:
            rows = {name: values[start : start + len(examples)] for name, values in table.items()}
            positions = self.train.positions(examples)
            return EpochPart(start, examples, Segment(*jax.tree.map(jnp.asarray, (positions, rows, masks))))

        cut = batches.full_steps * batches.batch_size
        parts = [part(0, order[:cut].reshape(batches.full_steps, batches.batch_size), full_masks)]
        if batches.tail:
            parts.append(part(batches.full_steps, order[cut : cut + batches.tail].reshape(1, batches.tail), tail_masks))
        return parts, float(hyperparameters["learning_rate"][-1])

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

    def evaluate(self, state: TrainState, split: Placed) -> evaluation.Evaluation:
        return evaluation.evaluate(
            self.program,
            state,
            split,
            batch_size=self.recipe.eval_batch_size,
            classes=self.classes,
            in_one_call=self.in_one_call and split.resident,
        )


def build(
    recipe: Recipe, dataset: Dataset, dtypes: Dtypes, *, memory_limit: int | None = None
) -> tuple[Experiment, TrainState]:
    """The experiment of ``recipe`` on the prepared ``dataset``, and its state before the first step.

    A split of more than ``memory_limit`` bytes (None: half of the device's memory) is streamed. Raises
    UserError if the data cannot be trained on as the recipe says.
    """
    batches = batching(len(dataset.train), recipe)
    classes = len(dataset.classes)
    recipe.loss.require_classes(classes)
    stream = streams.build(recipe)
    model = models.build(
        recipe.model,
        input_shape=dataset.input_shape,
        outputs=1 if recipe.loss.binary else classes,
        rngs=stream.rngs,
        param_dtype=dtypes.param,
    )
    total = total_steps(batches, recipe)
    epochs = math.ceil(total / batches.steps)
    schedule = schedules.build(recipe.schedule, optimizer=recipe.optimizer, epochs=epochs, total_steps=total)
    rule = optim.build(schedule.optimizer)
    train = place(dataset.train, recipe.input, dtypes, memory_limit=memory_limit)
    experiment = Experiment(
        recipe=recipe,
        dtypes=dtypes,
        classes=classes,
        batches=batches,
        total=total,
        stream=stream,
        rule=rule,
        schedule=schedule,
        program=step.build(model, recipe, rule, input_shape=dataset.input_shape, classes=classes, dtypes=dtypes),
        train=train,
        test=place(dataset.test, recipe.input, dtypes, memory_limit=memory_limit),
        in_one_call=_prefers_one_call(recipe, model),
    )
    return experiment, step.initial_state(model, rule)


def empty_record(steps: int, dtypes: Dtypes) -> Record:
    """The record of a part none of whose steps is done."""
    return Record(jnp.full(steps, jnp.nan, dtypes.param), jnp.zeros(steps, jnp.int32))


def _prefers_one_call(recipe: Recipe, model: nnx.Module) -> bool:
    if recipe.dispatch != "auto":
        return recipe.dispatch == "epoch"
    # Inside a loop, XLA's own CPU convolutions use one thread; step by step they use all.
    convs = [module for _, module in nnx.iter_modules(model) if isinstance(module, Conv2d)]
    by_blocks = all(conv.plain and prefers_blocks(conv.kernel.shape, (1, 1), tile=(1, 1)) for conv in convs)
    return by_blocks or jax.default_backend() != "cpu"
