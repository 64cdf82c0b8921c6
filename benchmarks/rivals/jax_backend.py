"""jaxnn's own training loop: compiled epochs or per-step calls, as `jaxnn train` chooses; and its evaluation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import experiment, precision
from jaxnn.data import Dataset
from jaxnn.experiment import EpochPart
from jaxnn.recipe import Recipe

from .layout import to_torch
from .prepared import Prepared

_STEPS = 1000  # at least so many are prepared: an epoch of a single step would time the call, not the step


def prepare(recipe: Recipe, dataset: Dataset) -> Prepared:
    """Trains over the full batches of the first epoch, again and again; a compiled call may go on into the next."""
    ready, state = experiment.build(recipe, dataset, precision.DTYPES[recipe.precision])
    epoch = ready.epoch_parts(1)[0][0]
    passes = -(-_STEPS // len(epoch.examples))
    # By NumPy: XLA would compile the concatenation of up to a thousand arrays, in this process' memory.
    examples, segment = jax.tree.map(lambda rows: np.concatenate([rows] * passes), (epoch.examples, epoch.segment))
    part = EpochPart(0, examples, jax.tree.map(jnp.asarray, segment))
    count = len(part.examples)
    record = experiment.empty_record(count, ready.dtypes)
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

    return Prepared(run, lambda: to_torch(state.params))


def prepare_evaluation(recipe: Recipe, dataset: Dataset) -> Prepared:
    """Evaluates the test split with the weights that the seed draws."""
    ready, state = experiment.build(recipe, dataset, precision.DTYPES[recipe.precision])

    def run(passes: int) -> np.ndarray:
        return np.array([ready.evaluate(state, ready.test)[0].loss for _ in range(passes)])

    return Prepared(run, lambda: {"confusion": np.asarray(ready.evaluate(state, ready.test)[0].confusion, np.float64)})
