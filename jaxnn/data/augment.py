"""How the training images of an epoch are cropped and mirrored: drawn here, for both frameworks."""

import numpy as np
from jaxtyping import Int32

from jaxnn.recipe import Recipe


def draw(recipe: Recipe, epoch: int, examples: int) -> Int32[np.ndarray, "examples 3"] | None:
    """(top, left, mirrored) for each place in the order of ``epoch``; None if the recipe changes no images.

    ``top`` and ``left``, from 0 to 2 * crop, are where the image is cut from the padded one. They depend on
    ``recipe.seed`` and ``epoch`` alone, and take nothing from the stream of weights, batches and masks.
    """
    if not recipe.augment.active:
        return None
    places = 2 * recipe.augment.crop + 1
    random = np.random.default_rng((recipe.seed, epoch))
    return random.integers(0, (places, places, 1 + recipe.augment.flip), (examples, 3), dtype=np.int32)
