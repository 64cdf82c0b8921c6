"""What is measured: a recipe at a batch size, on synthetic data of its own data set's size and kind."""

from typing import NamedTuple

import numpy as np

from jaxnn import recipes
from jaxnn.data import Dataset, Split, load, prepare
from jaxnn.recipe import Recipe


class Case(NamedTuple):
    recipe: str
    batch_size: int | None

    @property
    def name(self) -> str:
        return f"{self.recipe}, batch {self.batch_size or 'all'}"


CASES = (
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


def inputs(case: Case) -> tuple[Recipe, Dataset]:
    """The recipe of a case and data in memory; images are noise, whose values do not change the work."""
    recipe = recipes.get(case.recipe).replace(batch_size=case.batch_size)
    if recipe.input.size is None:
        return recipe, prepare(load(recipe.dataset, seed=recipe.seed), recipe.input)
    random = np.random.default_rng(0)
    shape = (recipe.input.size, recipe.input.size, recipe.input.channels or 1)

    def split(examples: int) -> Split:
        images = random.integers(0, 256, (examples, *shape), dtype=np.uint8)
        return Split(images, random.integers(0, 10, examples, dtype=np.int32))

    classes = tuple(str(number) for number in range(10))
    return recipe, Dataset("noise", split(50_000), split(1_000), classes, "np.random.default_rng(0)")
