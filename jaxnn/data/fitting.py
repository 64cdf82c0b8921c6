"""Examples brought to the form that a recipe's model takes: image size and channels, standardized columns."""

import dataclasses
from typing import Any

import numpy as np

from jaxnn.data import aligned
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import Images
from jaxnn.errors import UserError
from jaxnn.recipe import Input
from jaxnn.scaling import Scaling


def prepare(dataset: Dataset, input: Input) -> Dataset:
    """The set as ``input`` asks: images still uint8, of its size and channels; tables float32.

    Raises UserError for a table where the recipe takes images or the reverse, and for images that are too
    large to pad.
    """
    if dataset.is_images and input.size is None:
        raise UserError(
            f"{dataset.name} holds images but this recipe takes a table; "
            "use --dataset breast-cancer, iris or a CSV file, or an image recipe such as mnist-mlp"
        )
    if not dataset.is_images and input.size is not None:
        raise UserError(
            f"{dataset.name} is a table but this recipe takes images (input.size {input.size}); "
            "use --dataset mnist, digits or a folder of images, or a table recipe such as csv"
        )
    if dataset.is_images:
        train, test = (_fitted(part, input, dataset.name) for part in _splits(dataset))
        return dataclasses.replace(dataset, train=train, test=test)
    if not input.standardize:
        return dataset
    scaling = Scaling.of(dataset.train.inputs)
    train, test = (Split(scaling.apply(part.inputs), part.labels) for part in _splits(dataset))
    return dataclasses.replace(dataset, train=train, test=test, scaling=scaling)


def _fitted(part: Split, input: Input, name: str) -> Split:
    stored: Any = part.inputs
    if isinstance(stored, np.ndarray):
        return Split(fit_images(stored, input, name), part.labels)
    return Split(stored.fitted(input), part.labels)


def _splits(dataset: Dataset) -> tuple[Split, Split]:
    return dataset.train, dataset.test


def fit_images(images: Images, input: Input, name: str) -> Images:
    """``images`` of the size and channels that ``input`` asks for.

    Raises UserError, which calls them ``name``, if they are too large to pad.
    """
    assert input.size is not None
    if input.channels is not None:
        images = with_channels(images, input.channels)
    if images.shape[1:3] == (input.size, input.size):
        return images
    if input.fit == "resize":
        return _resized(images, input.size)
    height, width = images.shape[1:3]
    if max(height, width) > input.size:
        raise UserError(
            f"{name}: {width}x{height} is too large to be padded to {input.size}x{input.size}; use --input.fit resize"
        )
    top, left = (input.size - height) // 2, (input.size - width) // 2
    padded = aligned.empty((len(images), input.size, input.size, images.shape[3]))
    padded[...] = 0
    padded[:, top : top + height, left : left + width] = images
    return aligned.frozen(padded)


def with_channels(images: Images, channels: int) -> Images:
    """Grey repeated to RGB; RGB to grey by Pillow's weights (ITU-R 601-2)."""
    from PIL import Image

    if images.shape[3] == channels:
        return images
    if channels == 3:
        colored = aligned.empty((*images.shape[:3], 3))
        colored[...] = images
        return aligned.frozen(colored)
    n, height, width, _ = images.shape
    column = Image.fromarray(images.reshape(n * height, width, 3))  # all images, one below the other
    return np.asarray(column.convert("L")).reshape(n, height, width, 1)


def _resized(images: Images, size: int) -> Images:
    from PIL import Image

    out = aligned.empty((len(images), size, size, images.shape[3]))
    for source, target in zip(images, out, strict=True):
        picture = Image.fromarray(source if source.shape[2] == 3 else source[..., 0])
        target[...] = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)).reshape(target.shape)
    return aligned.frozen(out)
