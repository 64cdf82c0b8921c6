"""Augmented images: the same pixels in both frameworks, as the plain definition has them."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxnn.augment
import torchref.augment
from jaxnn import data, recipes
from jaxnn.recipe import Recipe


def augmented(crop: int, *, flip: bool) -> Recipe:
    return recipes.get("cifar-cnn").replace(**{"augment.crop": crop, "augment.flip": flip})


@pytest.mark.parametrize(("crop", "flip"), [(0, True), (1, False), (1, True), (4, True)])
@pytest.mark.parametrize("shape", [(6, 6, 1), (7, 5, 3)])
def test_pixels_are_those_of_the_definition(crop: int, flip: bool, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(1, 256, (200, *shape)).astype(np.uint8)
    drawn = data.augment.draw(augmented(crop, flip=flip), 1, 200)
    assert drawn is not None
    ours = np.asarray(jaxnn.augment.augment(jnp.asarray(images), jnp.asarray(drawn), crop))
    theirs = torchref.augment.augment(torch.tensor(images), torch.tensor(drawn), crop).numpy()
    assert ours.dtype == theirs.dtype == np.uint8
    for number, (image, (top, left, mirrored)) in enumerate(zip(images, drawn, strict=True)):
        padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)))
        expected = padded[top : top + shape[0], left : left + shape[1]]
        expected = expected[:, ::-1] if mirrored else expected
        np.testing.assert_array_equal(ours[number], expected, err_msg=f"JAX, image {number}")
        np.testing.assert_array_equal(theirs[number], expected, err_msg=f"PyTorch, image {number}")


def test_every_place_is_as_likely_and_depends_on_seed_and_epoch_alone() -> None:
    recipe = augmented(1, flip=True)
    drawn = data.augment.draw(recipe, 1, 18_000)
    assert drawn is not None
    counts = Counter(map(tuple, drawn.tolist()))
    assert len(counts) == 18 and all(850 < count < 1150 for count in counts.values())  # 1000 +- 4.9 sigma
    np.testing.assert_array_equal(drawn, data.augment.draw(recipe.replace(epochs=9, batch_size=7), 1, 18_000))
    others = [(recipe, 2), (recipe.replace(seed=421), 1)]
    assert not any((drawn == data.augment.draw(other, epoch, 18_000)).all() for other, epoch in others)


def test_nothing_is_drawn_without_augmentation() -> None:
    assert data.augment.draw(augmented(0, flip=False), 1, 10) is None
