"""Where a split lives: whole on the device, or on the host and streamed to the device batch by batch."""

import itertools
import os
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from jaxnn import data, step
from jaxnn.data import stream
from jaxnn.precision import Dtypes
from jaxnn.recipe import Input


@runtime_checkable
class Placed(Protocol):
    """A split as the experiment needs it; ``labels`` are on the host."""

    labels: np.ndarray
    resident: bool

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"]:
        """Where the step finds the examples of each batch in what ``each_step`` gives it."""
        ...

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[step.Split]:
        """What each of the steps gets as its split."""
        ...


class Resident:
    """The whole split on the device: images as uint8, gathered and scaled inside the compiled step."""

    resident = True

    def __init__(self, split: data.Split, spec: Input, dtypes: Dtypes) -> None:
        self.labels = split.labels
        self.split = step.device_split(split.inputs, split.labels, spec, dtypes)

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


def place(split: data.Split, spec: Input, dtypes: Dtypes, *, memory_limit: int | None) -> Placed:
    """``split`` on the device if it takes at most ``memory_limit`` bytes (None: half of what there is)."""
    limit = _half_of_memory() if memory_limit is None else memory_limit
    kind = Resident if split.inputs.nbytes <= limit else Streamed
    return kind(split, spec, dtypes)


def _half_of_memory() -> int:
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
