"""jaxnn's own training loop: compiled epochs or per-step calls, as `jaxnn train` chooses."""

import time
from collections.abc import Callable

import jax
import numpy as np

from jaxnn import experiment, precision
from jaxnn.data import Dataset
from jaxnn.recipe import Recipe


def prepare(recipe: Recipe, dataset: Dataset) -> tuple[Callable[[int], np.ndarray], float]:
    """``run(steps)`` trains on and returns the loss of each step once all of the state is computed; compile seconds."""
    ready, state = experiment.build(recipe, dataset, precision.DTYPES[recipe.precision])
    part = ready.epoch_parts(1)[0][0]
    count = len(part.examples)
    record = experiment.empty_record(count, ready.dtypes)
    began = time.perf_counter()
    ready.warm_up(state, record, part)
    compile_seconds = time.perf_counter() - began
    done = 0

    def run(steps: int) -> np.ndarray:
        nonlocal state, record, done
        losses = []
        while steps:
            start, stop = done % count, min(done % count + steps, count)
            state, record = ready.advance(state, record, part, start, stop)
            losses.append(np.asarray(record.loss)[start:stop])
            steps, done = steps - (stop - start), done + stop - start
        jax.block_until_ready((state, record))
        return np.concatenate(losses)

    return run, compile_seconds
