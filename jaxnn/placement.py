"""Where a split lives: whole on each device, or on the host and streamed to the devices batch by batch."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Int

from jaxnn import data, hosts
from jaxnn.data import stream
from jaxnn.device_mesh import Devices, OneDevice
from jaxnn.device_split import Split, device_split, host_split
from jaxnn.precision import Dtypes
from jaxnn.recipe import Input


@runtime_checkable
class Placed(Protocol):
    """A split as the experiment needs it; ``labels`` are on the host (of each run, if each has its own data)."""

    labels: np.ndarray
    resident: bool

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"] | None:
        """Where the step finds the examples of each batch in what ``each_step`` gives it; None: that is the batch."""
        ...

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[Split]:
        """What each of the steps gets as its split."""
        ...


class Resident:
    """The whole split on the device: images as uint8, gathered and scaled inside the compiled step.

    Several splits, one for each run, are stacked. ``sharding``: over the devices that train several runs.
    ``devices``: those that train one; each has the whole split.
    """

    resident = True

    def __init__(
        self,
        splits: Sequence[data.Split],
        spec: Input,
        dtypes: Dtypes,
        sharding: Sharding | None = None,
        devices: Devices = OneDevice(),  # noqa: B008  # it has no state
    ) -> None:
        if devices.shape.devices > 1:
            [split] = splits
            self.labels = split.labels
            self.split = devices.place(host_split(np.asarray(split.inputs), split.labels, spec, dtypes))
            return
        placed = [device_split(np.asarray(split.inputs), split.labels, spec, dtypes) for split in splits]
        if len(splits) == 1:
            self.labels, self.split = splits[0].labels, placed[0]
        else:
            self.labels = np.stack([split.labels for split in splits])
            self.split = jax.tree.map(lambda *leaves: jnp.stack(leaves), *placed)
        if sharding is not None:
            self.split = jax.device_put(self.split, sharding)

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> Int[np.ndarray, "steps batch"]:
        return examples

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[Split]:
        return itertools.repeat(self.split, len(examples))


class Streamed:
    """A split that is larger than the device's memory, or of several processes: one batch at a time is on the devices.

    Each process reads what its own devices need of a batch; of one that they cannot share evenly, all.
    """

    resident = False

    def __init__(
        self,
        split: data.Split,
        spec: Input,
        dtypes: Dtypes,
        devices: Devices = OneDevice(),  # noqa: B008  # it has no state
    ) -> None:
        self.labels = split.labels
        self._host, self._spec, self._dtypes, self._devices = split, spec, dtypes, devices

    def positions(self, examples: Int[np.ndarray, "steps batch"]) -> None:
        del examples

    def each_step(self, examples: Int[np.ndarray, "steps batch"]) -> Iterator[Split]:
        batch = examples.shape[1]
        for inputs, labels in stream.batches(self._host, examples[:, self._devices.rows(batch)]):
            if self._devices.shape.devices == 1:
                yield device_split(inputs, labels, self._spec, self._dtypes)
            else:
                part = host_split(inputs, labels, self._spec, self._dtypes)
                of_batch, of_labels = self._devices.place_batch((part.inputs, part.labels), batch)
                yield Split(of_batch, of_labels, self._devices.place(part.affine))


def place(
    splits: Sequence[data.Split],
    spec: Input,
    dtypes: Dtypes,
    *,
    memory_limit: int | None,
    sharding: Sharding | None = None,
    devices: Devices = OneDevice(),  # noqa: B008  # it has no state
) -> Placed:
    """A split, or one for each run, on the device if it fits there; only one split can be streamed.

    Several processes always stream: none should read what the others' devices need.
    """
    if len(splits) > 1 or (fits(splits, memory_limit) and not hosts.many()):
        return Resident(splits, spec, dtypes, sharding, devices)
    return Streamed(splits[0], spec, dtypes, devices)


def fits(splits: Sequence[data.Split], memory_limit: int | None) -> bool:
    """Whether ``splits`` take at most ``memory_limit`` bytes (None: half of what the device has)."""
    limit = _half_of_memory() if memory_limit is None else memory_limit
    return sum(split.inputs.nbytes for split in splits) <= limit


def _half_of_memory() -> int:
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
