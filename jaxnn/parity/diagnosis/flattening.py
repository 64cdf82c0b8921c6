"""Orders in which an image may be laid out as a row."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

_AXES = ("channel", "height", "width", "depth")


def orders(shape: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    """Every order but PyTorch's of the elements of (C, ...), as indices into its row; channels last comes first."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    axes = range(len(shape))
    channels_last = (*axes[1:], 0)
    for order in dict.fromkeys([channels_last, *itertools.permutations(axes)]):
        found = index.transpose(order).ravel()
        if not np.array_equal(found, index.ravel()):
            yield f"({', '.join(_AXES[a] for a in order)})", found


def regroupings(size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Rows of ``size`` read as C channels of P positions and written as P positions of C channels, for every C."""
    for channels in range(2, size):
        if size % channels == 0:
            order = np.arange(size).reshape(channels, -1).T.ravel()
            yield f"{channels} channels of {size // channels}, channels last", order
