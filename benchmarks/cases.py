"""What is measured: a recipe at a batch size, on synthetic data of its own data set's size and kind."""

from typing import NamedTuple

import numpy as np

from jaxnn import recipes
from jaxnn.data import Dataset, Split, aligned, load, prepare
from jaxnn.errors import UserError
from jaxnn.recipe import Precision, Recipe

_TRAIN, _TEST = 50_000, 10_000  # images
_PIECE = 1000  # drawn at a time


class Case(NamedTuple):
    """Training at ``batch_size`` (None: the whole training split), or ``evaluates``: passes over the test split."""

    recipe: str
    batch_size: int | None
    evaluates: bool = False

    @property
    def name(self) -> str:
        kind = ", evaluation" if self.evaluates else ""
        return f"{self.recipe}{kind}, batch {self.batch_size or 'all'}"


TRAINING = (
    Case("mnist-mlp", 10),
    Case("tabular-mlp", None),
    Case("breast-cancer", 5),
    Case("fashion-mlp", 128),
    Case("fashion-mlp-bn", 128),
    Case("fashion-mlp-512", 64),
    Case("lenet", 64),
    Case("lenet", 1),
    Case("cifar-cnn", 4),
    Case("cifar-cnn", 64),
    Case("cifar-cnn", 128),
)
EVALUATION = (  # at the documents' test batches
    Case("mnist-mlp", 10, evaluates=True),
    Case("fashion-mlp-512", 64, evaluates=True),
    Case("cifar-cnn", 4, evaluates=True),
)
SWEPT = ("mnist-mlp", "fashion-mlp-512", "lenet", "cifar-cnn")
BATCH_SIZES = tuple(2**power for power in range(11))


def choose(names: tuple[str, ...], batch_size: int | None) -> tuple[Case, ...]:
    """The default set, or its cases of the recipes ``names``, or these at ``batch_size``.

    Raises UserError for a recipe that does not exist or has no data of its own, and for a batch size below 1.
    """
    for name in names:
        if recipes.get(name).dataset is None:
            raise UserError(f"recipe {name!r} has no data of its own to measure; choose another")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, but it is {batch_size}")
    default = (*TRAINING, *EVALUATION)
    if batch_size is not None:
        return tuple(Case(name, batch_size) for name in dict.fromkeys(names or (case.recipe for case in TRAINING)))
    if not names:
        return default
    found = [case for case in default if case.recipe in names]
    known = {case.recipe for case in found}
    return (*found, *(Case(name, recipes.get(name).batch_size) for name in names if name not in known))


def recipe_of(case: Case, precision: Precision) -> Recipe:
    size = {"eval_batch_size" if case.evaluates else "batch_size": case.batch_size}
    return recipes.get(case.recipe).replace(precision=precision, **size)


def dataset_of(recipe: Recipe, *, train: int = _TRAIN, test: int = _TEST, classes: int = 10) -> Dataset:
    """Data of a recipe's own set's size and kind, in memory; images are noise, whose values do not change the work.

    ``train``, ``test``: how many images, of how many ``classes``.
    """
    if recipe.input.size is None:
        return prepare(load(recipe.dataset, seed=recipe.seed), recipe.input)
    random = np.random.default_rng(0)
    shape = (recipe.input.size, recipe.input.size, recipe.input.channels or 1)

    def split(examples: int) -> Split:
        images = aligned.empty((examples, *shape))
        for start in range(0, examples, _PIECE):
            piece = images[start : start + _PIECE]
            piece[...] = random.integers(0, 256, piece.shape, dtype=np.uint8)
        return Split(aligned.frozen(images), random.integers(0, classes, examples, dtype=np.int32))

    names = tuple(str(number) for number in range(classes))
    return Dataset("noise", split(train), split(test), names, "np.random.default_rng(0)")
