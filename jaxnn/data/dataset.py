"""The one result type of every data source."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt8


@dataclass(frozen=True)
class Split:
    """Examples in the file's original order: uint8 images or a float32 table, and class numbers from 0."""

    inputs: UInt8[np.ndarray, "examples height width channels"] | Float32[np.ndarray, "examples features"]
    labels: Int32[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set with its two splits. ``source`` says, for people, where it was found."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    source: str

    @property
    def is_images(self) -> bool:
        return self.train.inputs.ndim == 4

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) or (features,)."""
        return self.train.inputs.shape[1:]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over shapes, dtypes, values and class names of both splits, in order."""
        digest = hashlib.sha256()
        for array in (self.train.inputs, self.train.labels, self.test.inputs, self.test.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update("\0".join(self.classes).encode())
        return digest.hexdigest()

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
        }
