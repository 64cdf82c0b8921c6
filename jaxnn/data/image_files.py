"""A folder of image files that stay where they are: listed, and decoded batch by batch."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Int, Int32

from jaxnn.data import class_folders, split, tree
from jaxnn.data.class_folders import Arranged
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import ENDINGS, Images, as_batch, decode, is_grey, refusing_bombs
from jaxnn.data.stored import Stored
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_SAMPLED = 64  # files of which the fingerprint covers every byte


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A ``jaxnn.data.stored.Source``: ``names`` of files below ``folder``."""

    folder: Path
    names: Sequence[str]

    def images(self, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[str, Images]]:
        for row in rows:
            where = self.where(row)
            yield where, as_batch(decode(self.read(row), where))

    def where(self, row: int) -> str:
        return f"{self.folder}: {self.names[row]}"

    def read(self, row: int) -> bytes:
        """The bytes of one file. Raises UserError if it has gone."""
        try:
            return Path(self.folder, self.names[row]).read_bytes()
        except OSError as error:
            raise UserError(f"{self.where(row)} cannot be read: {error.strerror}; put it back") from error


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a folder, none of them read yet."""

    folder: Path
    arranged: Arranged

    def nbytes(self, input: Input | None) -> int:
        """Bytes of all pixels, decoded and fitted to ``input``; without it, as if all were as the first one is."""
        count = len(self.arranged.names)
        if input is None or input.size is None:
            return count * self._first.nbytes
        return count * input.size**2 * (input.channels or 3)

    @functools.cached_property
    def _first(self) -> Images:
        with refusing_bombs():
            return next(ImageFiles(self.folder, self.arranged.names).images(np.array([0])))[1]

    def dataset(self, name: str, input: Input | None) -> Dataset:
        """What ``image_folder.read`` returns, on disk. Raises what it does for folders; for images, when they are read.

        The fingerprint covers the name, class and size of each file, and all bytes of some.
        """
        arranged = self.arranged
        source = ImageFiles(self.folder, arranged.names)
        rows, channels = np.arange(len(arranged.names)), self._channels(input)
        if input is None or input.size is None:
            _, height, width, _ = self._first.shape
            images = Stored(source, rows, (height, width), channels)
        else:
            images = Stored(source, rows, (input.size, input.size), channels).fitted(input)
        parts = arranged.rows
        if len(parts) == 1:
            parts = split.stratified_rows(arranged.labels, classes=arranged.classes, where=str(self.folder))
        train, test = (Split(cast("Any", images.take(rows)), arranged.labels[rows]) for rows in parts)
        return Dataset(name, train, test, arranged.classes, str(self.folder), _digest(source, arranged.labels))

    def _channels(self, input: Input | None) -> int:
        if input is not None and input.channels is not None:
            return input.channels
        return 1 if all(is_grey(Path(self.folder, name)) for name in self.arranged.names) else 3


def list_folder(folder: Path) -> Listing:
    """Raises UserError for an empty class or the lack of images."""
    names, folders = [], []
    for entry in tree.entries(folder):
        if entry.is_folder:
            folders.append(str(entry.path))
        elif entry.path.suffix.lower() in ENDINGS:
            names.append(str(entry.path))
    return Listing(folder, class_folders.arrange(names, folders, folder))


def _digest(source: ImageFiles, labels: Int32[np.ndarray, " examples"]) -> str:
    digest = hashlib.sha256()
    for name, label in zip(source.names, labels.tolist(), strict=True):
        digest.update(f"{name}\0{label}\0{Path(source.folder, name).stat().st_size}\n".encode(errors="surrogateescape"))
    for row in np.linspace(0, len(source.names) - 1, _SAMPLED).astype(int):
        digest.update(hashlib.sha256(source.read(row)).digest())
    return digest.hexdigest()
