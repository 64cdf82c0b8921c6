"""Small data sets that need no files."""

import numpy as np
import pytest
import torch

from jaxnn.data import Dataset, Split

torch.set_num_threads(1)  # small work: threads that wait for each other cost more than they give


def _labels(random: np.random.Generator, count: int, classes: int) -> np.ndarray:
    return random.permutation(np.arange(count, dtype=np.int32) % classes)


@pytest.fixture
def images() -> Dataset:
    """57 and 23 grey 16x16 images of 4 classes; the class is a bright row."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = _labels(random, count, 4)
        inputs = random.integers(0, 120, (count, 16, 16, 1), dtype=np.uint8)
        inputs[np.arange(count), 3 * labels] += 120
        return Split(inputs, labels)

    return Dataset("rows", split(57), split(23), tuple("abcd"), "made for the test")


@pytest.fixture
def table() -> Dataset:
    """57 and 23 rows of 5 columns and 2 classes."""
    random = np.random.default_rng(1)

    def split(count: int) -> Split:
        labels = _labels(random, count, 2)
        return Split((random.normal(size=(count, 5)) + labels[:, None]).astype(np.float32), labels)

    return Dataset("blobs", split(57), split(23), ("no", "yes"), "made for the test")
