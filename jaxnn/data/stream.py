"""Batches read ahead from host memory or disk, for sets that do not fit on the device."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from jaxtyping import Int

from jaxnn.data.dataset import Split
from jaxnn.data.decoding import refusing_bombs

_THREADS, _AHEAD = 2, 8


def batches(split: Split, examples: Int[np.ndarray, "steps batch"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(inputs, labels) of each row of ``examples``, in order, gathered by Grain's threads a few steps ahead.

    Raises UserError, which Grain passes on, for what cannot be read.
    """
    import grain  # imports slowly

    options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
    source = cast("Any", _Batches(split, examples))
    with refusing_bombs():
        yield from grain.MapDataset.source(source).to_iter_dataset(options)


class _Batches:
    """A batch for each row of ``examples``."""

    def __init__(self, split: Split, examples: np.ndarray) -> None:
        self._split, self._examples = split, examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self._split.inputs[self._examples[i]], self._split.labels[self._examples[i]]
