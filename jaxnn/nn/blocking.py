"""How a convolution is cut into tiles of output pixels, and where in memory what each tile needs is."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

Pair = tuple[int, int]


class Blocking(NamedTuple):
    """A convolution of stride 1 in ``grid`` tiles of ``tile`` output pixels; all pairs are (height, width)."""

    kernel: Pair
    tile: Pair
    grid: Pair

    @property
    def window(self) -> Pair:
        """Input pixels that a tile sees."""
        return each(lambda tile, kernel: tile + kernel - 1, self.tile, self.kernel)

    @property
    def input(self) -> Pair:
        """Input pixels that all tiles together see."""
        return each(lambda grid, tile, kernel: grid * tile + kernel - 1, self.grid, self.tile, self.kernel)


def each(function: Callable[..., int], *pairs: Sequence[Any]) -> Pair:
    """``function`` once of what concerns height and once of what concerns width."""
    height, width = map(function, *pairs)
    return height, width


@lru_cache
def patch_rows(blocking: Blocking, channels: int) -> Int[np.ndarray, " places"]:
    """Which pixel of the flat input (channel, height, width) each place in the window of each tile is.

    Places are ordered (channel, place in the window, tile).
    """
    height, width = blocking.input
    rows, columns = (
        np.add.outer(np.arange(window), tile * np.arange(grid))
        for window, tile, grid in zip(blocking.window, blocking.tile, blocking.grid, strict=True)
    )
    pixels = rows[:, None, :, None] * width + columns[:, None, :]  # (window height, width, grid height, width)
    return np.add.outer(np.arange(channels) * height * width, pixels).ravel().astype(np.int32)


@lru_cache
def toeplitz_entries(blocking: Blocking, channels: Pair) -> Int[np.ndarray, "rows columns"]:
    """Which entry of the flat kernel (height, width, in, out) each entry of the matrix is; one past the end: zero.

    Rows are ordered (in channel, place in the window), columns (place in the tile, out channel).
    """
    (kernel_h, kernel_w), (c_in, c_out) = blocking.kernel, channels
    c, i, j, tile_i, tile_j, o = np.ix_(*map(np.arange, (c_in, *blocking.window, *blocking.tile, c_out)))
    i, j = i - tile_i, j - tile_j
    inside = (i >= 0) & (i < kernel_h) & (j >= 0) & (j < kernel_w)
    entries = np.where(inside, ((i * kernel_w + j) * c_in + c) * c_out + o, prod(blocking.kernel) * c_in * c_out)
    return entries.reshape(c_in * prod(blocking.window), -1).astype(np.int32)


@lru_cache
def toeplitz_copies(blocking: Blocking, channels: Pair) -> Int[np.ndarray, "tile kernel"]:
    """Where in the flat matrix the copies of each entry of the flat kernel are: one for each pixel of a tile."""
    entries = toeplitz_entries(blocking, channels).ravel()
    size = prod(blocking.kernel) * prod(channels)
    places = np.argsort(entries, kind="stable")[: np.count_nonzero(entries < size)]
    return places.reshape(size, -1).T.astype(np.int32)
