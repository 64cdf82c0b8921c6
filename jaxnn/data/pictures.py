"""The user's own picture files as a trained model takes them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnn import limits
from jaxnn.data.decoding import Images, as_batch, decode, refusing_bombs
from jaxnn.data.fitting import fit_images, with_channels
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_DARK = ("mnist", "fashion_mnist", "digits")  # named sets of light shapes on black


class Pictures(NamedTuple):
    """``notes`` say what was changed beyond size and channels; ``inverted`` where light and dark were exchanged."""

    inputs: Images
    inverted: list[bool]
    notes: list[str]


def read(paths: Sequence[Path], input: Input, *, shape: tuple[int, ...], trained_on: str) -> Pictures:
    """PNG, JPEG, BMP or WEBP files of any size in the ``shape`` (height, width, channels) of the training images.

    They are fitted as jaxnn.data.prepare fits the images of a set, but those too large to be padded are resized.
    Transparent parts show white. Pictures on a light ground for a model trained on the data set ``trained_on`` whose
    ground is black are inverted. Raises UserError that names a file that is missing or no picture.
    """
    input = dataclasses.replace(input, size=shape[0], channels=shape[2])
    found = [_one(path, input, dark=trained_on in _DARK) for path in paths]
    return Pictures(
        np.concatenate([inputs for inputs, _, _ in found]),
        [inverted for _, inverted, _ in found],
        [note for _, _, notes in found for note in notes],
    )


def _one(path: Path, input: Input, *, dark: bool) -> tuple[np.ndarray, bool, list[str]]:
    assert input.size is not None and input.channels is not None
    with refusing_bombs():
        pixels = decode(_bytes(path), str(path), on_white=True)
    notes = []
    images = with_channels(as_batch(pixels), input.channels)
    height, width = images.shape[1:3]
    inverted = dark and input.channels == 1 and bool(np.median(_border(images[0, ..., 0])) > 127)
    if inverted:
        images = 255 - images
        notes.append(f"{path} is dark on light, unlike the images of the training: inverted")
    if input.fit == "pad" and max(height, width) > input.size:
        input = dataclasses.replace(input, fit="resize")
        notes.append(f"{path} is {width}x{height}, too large to be padded to {input.size}x{input.size}: resized")
    return fit_images(images, input, str(path)), inverted, notes


def _border(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.LARGEST_MEMBER + 1)  # a device may have no end
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; name a PNG, JPEG, BMP or WEBP file") from error
    if len(data) > limits.LARGEST_MEMBER:
        raise UserError(f"{path} has over {limits.LARGEST_MEMBER} bytes; name a PNG, JPEG, BMP or WEBP file")
    return data
