"""The documents' generated data: uniform numbers with random classes, as torch.manual_seed(seed) draws them."""

import re

import numpy as np

from jaxnn.data.dataset import Dataset, Split
from jaxnn.errors import UserError
from jaxnn.torch_random import TorchGenerator

_NAME = re.compile(r"uniform-(\d{1,12})x(\d{1,12})")
_MOST_NUMBERS = 2**30  # 4 GiB of float32
CLASSES = ("0", "1", "2")


def is_name(name: str) -> bool:
    return name.startswith("uniform-")


def uniform(name: str, *, seed: int) -> Dataset:
    """``uniform-ROWSxFEATURES``: torch.rand((rows, features)) * 100, then torch.randint(0, 3, (rows, 1)).

    The test split, 20 % as many rows, is drawn after it from the same generator.
    """
    rows, features = shape(name)
    generator = TorchGenerator(seed)
    train, test = (_draw(generator, n, features) for n in (rows, max(1, round(0.2 * rows))))
    return Dataset(name=name, train=train, test=test, classes=CLASSES, source=f"torch.manual_seed({seed})")


def shape(name: str) -> tuple[int, int]:
    """Rows and features of ``uniform-ROWSxFEATURES``. Raises UserError for anything else."""
    match = _NAME.fullmatch(name)
    rows, features = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows == 0 or features == 0 or rows * features > _MOST_NUMBERS:
        raise UserError(
            f"--dataset {name!r} is not uniform-ROWSxFEATURES with at least one of each "
            f"and at most {_MOST_NUMBERS} numbers, such as uniform-500x20"
        )
    return rows, features


def _draw(generator: TorchGenerator, rows: int, features: int) -> Split:
    inputs = generator.rand((rows, features)) * np.float32(100)
    labels = generator.randint(0, len(CLASSES), (rows, 1))
    return Split(inputs, labels[:, 0].astype(np.int32))
