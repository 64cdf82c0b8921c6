"""Where a split lives: whole on the device, or on the host and streamed to the device batch by batch."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Int

from jaxnn import data, step
from jaxnn.data import stream
from jaxnn.precision import Dtypes
from jaxnn.recipe import Input


@runtime_checkable
class Placed(Protocol):
    """A split as the experiment needs it; ``labels`` are on the host (of each run, if each has its own data)."""

    labels: np.ndarray
    resident: bool

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"]:
        """Where the step finds the examples of each batch in what ``each_step`` gives it."""
        ...

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[step.Split]:
        """What each of the steps gets as its split."""
        ...


class Resident:
    """The whole split on the device: images as uint8, gathered and scaled inside the compiled step.

    Several splits, one for each run, are stacked. ``sharding``: over the devices that train several runs.
    """

    resident = True

    def __init__(
        self, splits: Sequence[data.Split], spec: Input, dtypes: Dtypes, sharding: Sharding | None = None
    ) -> None:
        placed = [step.device_split(np.asarray(split.inputs), split.labels, spec, dtypes) for split in splits]
        if len(splits) == 1:
            self.labels, self.split = splits[0].labels, placed[0]
        else:
            self.labels = np.stack([split.labels for split in splits])
            self.split = jax.tree.map(lambda *leaves: jnp.stack(leaves), *placed)
        if sharding is not None:
            self.split = jax.device_put(self.split, sharding)

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"]:
        return examples

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[step.Split]:
        return itertools.repeat(self.split, len(examples))


class Streamed:
    """A split that is larger than the device's memory: one batch at a time is on the device."""

    resident = False

    def __init__(self, split: data.Split, spec: Input, dtypes: Dtypes) -> None:
        self.labels = split.labels
        self._host, self._spec, self._dtypes = split, spec, dtypes

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"]:
        return np.broadcast_to(np.arange(examples.shape[1], dtype=np.int32), examples.shape)

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[step.Split]:
        for inputs, labels in stream.batches(self._host, examples):
            yield step.device_split(inputs, labels, self._spec, self._dtypes)


def place(
    splits: Sequence[data.Split],
    spec: Input,
    dtypes: Dtypes,
    *,
    memory_limit: int | None,
    sharding: Sharding | None = None,
) -> Placed:
    """A split, or one for each run, on the device if it fits there; only one split can be streamed."""
    if len(splits) > 1 or fits(splits, memory_limit):
        return Resident(splits, spec, dtypes, sharding)
    return Streamed(splits[0], spec, dtypes)


def fits(splits: Sequence[data.Split], memory_limit: int | None) -> bool:
    """Whether ``splits`` take at most ``memory_limit`` bytes (None: half of what the device has)."""
    limit = _half_of_memory() if memory_limit is None else memory_limit
    return sum(split.inputs.nbytes for split in splits) <= limit


def _half_of_memory() -> int:
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
