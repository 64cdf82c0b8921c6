"""The one result type of every data source."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxnn.errors import UserError
from jaxnn.scaling import Scaling

_FILES = "files-"
_CHUNK = 1024  # examples in memory twice


@dataclass(frozen=True)
class Split:
    """Examples in the file's original order: uint8 images or a float32 table, and class numbers from 0.

    ``inputs`` may be a jaxnn.data.stored.Stored, whose images stay on disk until their rows are asked for.
    """

    inputs: UInt8[np.ndarray, "examples height width channels"] | Float32[np.ndarray, "examples features"]
    labels: Int32[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set with its two splits. ``source`` says, for people, where it was found.

    ``of_files``, of a set whose images stay on disk: a digest of what is known of the files without reading them all.
    ``scaling``, of a table whose columns were standardized: how.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    source: str
    of_files: str | None = None
    scaling: Scaling | None = None

    @property
    def is_images(self) -> bool:
        return self.train.inputs.ndim == 4

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) or (features,)."""
        return self.train.inputs.shape[1:]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over shapes, dtypes, values and class names of both splits, in order.

        Of images that stay on disk: "files-" and a sha256 over the shapes and ``of_files``.
        """
        if self.of_files is None:
            return self._of_values
        shapes = self.train.inputs.shape, self.test.inputs.shape
        return _FILES + hashlib.sha256(f"{shapes}{self.of_files}".encode()).hexdigest()

    @cached_property
    def _of_values(self) -> str:
        digest = hashlib.sha256()
        for array in (self.train.inputs, self.train.labels, self.test.inputs, self.test.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for start in range(0, len(array), _CHUNK):
                digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
        digest.update("\0".join(self.classes).encode())
        return digest.hexdigest()

    def require_same(self, fingerprint: str, run: object) -> None:
        """Raises UserError unless the ``run`` that recorded this fingerprint began on these data.

        Where one of the two left its images on disk and the other did not, all of them are read, if need be.
        """
        if fingerprint.startswith(_FILES) and self.of_files is None:
            raise UserError(f"{run} left its images on disk and goes on only so; add --memory-limit 0")
        if fingerprint not in (self.fingerprint, self._of_values if not fingerprint.startswith(_FILES) else None):
            raise UserError(f"data set {self.name} has changed since {run} began; train anew with --overwrite")

    def may_be(self, fingerprint: str | None) -> bool:
        """False if the data of this fingerprint are known to be others; images are not read for it."""
        known = fingerprint is not None and fingerprint.startswith(_FILES) == (self.of_files is not None)
        return not known or fingerprint == self.fingerprint

    def record(self) -> dict[str, Any]:
        """What a run keeps of its data in environment.json."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "train_examples": len(self.train),
            "test_examples": len(self.test),
            "classes": list(self.classes),
            "input_shape": list(self.input_shape),
            **({} if self.scaling is None else {"scaling": asdict(self.scaling)}),
        }
