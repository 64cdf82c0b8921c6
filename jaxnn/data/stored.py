"""Images that stay on disk: read, decoded and fitted when their rows are asked for."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from jaxnn.data import aligned
from jaxnn.data.decoding import Images, refusing_bombs
from jaxnn.data.fitting import fit_images
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_CHUNK = 1024  # images in memory twice, when all are read


class Source(Protocol):
    """Where images come from. Threads read from it at the same time."""

    def images(self, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[str, Images]]:
        """The images of ``rows``, in order, in batches of one size and channels, and what an error calls the batch.

        Raises UserError that names what is missing or damaged.
        """
        ...


@dataclass(frozen=True, eq=False)
class Stored:
    """What stands for the array of a split's images (examples, height, width, channels), uint8.

    Indexed as the first axis of an array is, by a number, a slice or an array of them; ``np.asarray`` reads all.
    ``rows``: those of ``source`` that are the examples. ``fits``: the inputs that each image is fitted to, one after
    the other. Without any, all images must be of the same size; grey ones become RGB where ``channels`` is 3.
    """

    source: Source
    rows: Int[np.ndarray, " examples"]
    size: tuple[int, int]  # height, width
    channels: int
    fits: tuple[Input, ...] = ()

    ndim = 4
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.rows), *self.size, self.channels

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Images:
        chosen = self.rows[key]
        rows = np.atleast_1d(chosen)
        images = aligned.empty((len(rows), *self.shape[1:]))
        self._read_into(images, rows)
        return aligned.frozen(images) if np.ndim(chosen) else aligned.frozen(images)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        images = aligned.empty(self.shape)
        with refusing_bombs():
            for start in range(0, len(self), _CHUNK):
                part = slice(start, start + _CHUNK)
                self._read_into(images[part], self.rows[part])
        images = aligned.frozen(images)
        return images if dtype is None else images.astype(dtype, copy=False)

    def fitted(self, input: Input) -> "Stored":
        """The same images, brought to the size and channels that ``input`` asks for."""
        if self.fits and self.fits[-1] == input:
            return self
        assert input.size is not None
        channels = input.channels or self.channels
        return dataclasses.replace(self, size=(input.size, input.size), channels=channels, fits=(*self.fits, input))

    def take(self, rows: Int[np.ndarray, " rows"]) -> "Stored":
        """Some of the examples, unread."""
        return dataclasses.replace(self, rows=self.rows[rows])

    def _read_into(self, target: Images, rows: Int[np.ndarray, " rows"]) -> None:
        done = 0
        for where, images in self.source.images(rows) if len(rows) else ():
            for input in self.fits:
                images = fit_images(images, input, where)
            if images.shape[1:3] != self.size or images.shape[3] > self.channels:
                raise UserError(
                    f"{where} is {_words(images.shape[1:])} but the others are {_words(self.shape[1:])}; "
                    "bring all images to one size, or use --image-size N"
                )
            target[done : done + len(images)] = images  # grey is repeated
            done += len(images)


def _words(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
