"""How an epoch is cut into batches."""

from dataclasses import dataclass

from jaxnn.errors import UserError
from jaxnn.recipe import Recipe


@dataclass(frozen=True)
class Batching:
    """An epoch of ``full_steps`` batches of ``batch_size`` and, unless it is 0, one of ``tail``."""

    batch_size: int
    full_steps: int
    tail: int

    @property
    def steps(self) -> int:
        return self.full_steps + (self.tail > 0)

    @property
    def examples(self) -> int:
        return self.batch_size * self.full_steps + self.tail


def batching(examples: int, recipe: Recipe) -> Batching:
    """DataLoader's batches: the last, partial one is kept unless ``drop_last``.

    A batch size larger than the set becomes the set's size; whoever was given it explicitly refuses
    it before.
    """
    if examples < 1:
        raise UserError("the training split is empty; nothing to train on")
    size = min(recipe.batch_size or examples, examples)
    return Batching(size, examples // size, 0 if recipe.drop_last else examples % size)


def total_steps(batches: Batching, recipe: Recipe) -> int:
    """The steps of the whole run: ``recipe.steps`` if given, else those of its epochs."""
    return recipe.steps or recipe.epochs * batches.steps
