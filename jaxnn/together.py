"""Which runs can be trained together in one compiled program, and what a run to do is."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from jaxnn import schedules, threads
from jaxnn.data import Dataset
from jaxnn.recipe import Recipe, Schedule
from jaxnn.run_dir import RunDir


class Job(NamedTuple):
    """A recipe to train on its prepared data, and where."""

    recipe: Recipe
    dataset: Dataset
    run: RunDir


def groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs that one compiled program can train, in the order of their first ones."""
    found: dict[object, list[Job]] = {}
    for job in jobs:
        shapes = tuple((split.inputs.shape, split.inputs.dtype) for split in (job.dataset.train, job.dataset.test))
        found.setdefault((_compiled(job.recipe), shapes, job.dataset.classes), []).append(job)
    return list(found.values())


def keeps_a_cpu_busy(job: Job) -> bool:
    """Whether a run alone is as fast there as in company.

    Large steps and convolutions keep it busy, and those of several runs no longer fit its caches: 16 runs of
    tabular-minibatch are 0.7 times as fast together, those of cifar-cnn 0.4.
    """
    return job.recipe.model.convolves or not threads.one_suffices(job.recipe, job.dataset)


def _compiled(recipe: Recipe) -> Recipe:
    """``recipe`` without what a compiled program is given at each step, or what only the first state knows."""
    optimizer = schedules.starting_optimizer(recipe.schedule, recipe.optimizer)
    has_momentum = 1.0 if optimizer.momentum else 0.0
    neutral = dataclasses.replace(optimizer, learning_rate=0.0, momentum=has_momentum)
    return recipe.replace(seed=0, optimizer=neutral, schedule=Schedule())
