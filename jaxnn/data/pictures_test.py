"""The user's own picture files: size, channels, transparency, light and dark."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import Dataset, Split, pictures, prepare
from jaxnn.errors import UserError
from jaxnn.recipe import Input

DIGIT = np.zeros((40, 30), np.uint8)  # a light stroke on black
DIGIT[5:35, 12:18] = 200
Fit = Literal["pad", "resize"]
GREY, COLOUR = (28, 28, 1), (28, 28, 3)


def read(path: Path, shape: tuple[int, ...] = GREY, trained_on: str = "pets", fit: Fit = "resize") -> pictures.Pictures:
    return pictures.read([path], Input(size=28, fit=fit), shape=shape, trained_on=trained_on)


@pytest.mark.parametrize("ending", ["png", "bmp", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_file_becomes_what_a_training_image_becomes(ending: str, channels: int, fit: Fit, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    path = tmp_path / f"one.{ending}"
    Image.fromarray(image).save(path, lossless=True)  # read by WEBP alone
    split = Split(image[None], np.zeros(1, np.int32))
    expected = prepare(Dataset("set", split, split, ("a",), ""), Input(size=28, channels=channels, fit=fit))
    found = read(path, (28, 28, channels), fit=fit)
    np.testing.assert_array_equal(found.inputs, expected.train.inputs)
    assert found.inverted == [False] and found.notes == []


@pytest.mark.parametrize("trained_on", ["mnist", "fashion_mnist", "digits"])
@pytest.mark.parametrize("shape", [GREY, (64, 64, 1)])  # smaller and larger than the picture
def test_dark_on_light_is_inverted_and_said(trained_on: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    Image.fromarray(DIGIT).save(tmp_path / "dark.png")
    Image.fromarray(255 - DIGIT).convert("RGB").save(tmp_path / "light.png")
    fit: Fit = "pad" if shape[0] == 64 else "resize"
    expected = read(tmp_path / "dark.png", shape, trained_on, fit)
    found = read(tmp_path / "light.png", shape, trained_on, fit)
    np.testing.assert_allclose(found.inputs.astype(int), expected.inputs, atol=1)  # rounded after resizing
    assert (expected.inverted, found.inverted) == ([False], [True]) and expected.notes == []
    assert "light.png is dark on light" in found.notes[0]


@pytest.mark.parametrize(("shape", "trained_on"), [(COLOUR, "digits"), (GREY, "pets")])
def test_nothing_else_is_inverted(shape: tuple[int, ...], trained_on: str, tmp_path: Path) -> None:
    Image.fromarray(255 - DIGIT).save(tmp_path / "light.png")
    found = read(tmp_path / "light.png", shape, trained_on)
    assert found.inverted == [False] and found.inputs[0, 0, 0, 0] == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    image = np.zeros((28, 28, 4), np.uint8)  # black, of which the left half shows
    image[:, :14, 3] = 255
    picture = Image.fromarray(image)
    if mode == "P":
        paletted = Image.fromarray(image[..., 3]).convert("P")
        paletted.putpalette([0, 0, 0] * 256)
        paletted.save(tmp_path / "half.png", transparency=0)
    else:
        picture.convert(mode).save(tmp_path / "half.png")
    found = read(tmp_path / "half.png").inputs[0, ..., 0]
    assert (found[:, :14] == 0).all() and (found[:, 14:] == 255).all()


def test_a_picture_too_large_to_pad_is_resized_and_said(tmp_path: Path) -> None:
    Image.fromarray(DIGIT).save(tmp_path / "large.png")
    padded, resized = read(tmp_path / "large.png", fit="pad"), read(tmp_path / "large.png", fit="resize")
    np.testing.assert_array_equal(padded.inputs, resized.inputs)
    assert "large.png is 30x40, too large to be padded to 28x28" in padded.notes[0] and resized.notes == []


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    for name, says in {"text.png": "is a broken image", "deep.png": "8 bits", "gone.png": "cannot be read"}.items():
        with pytest.raises(UserError, match=f"{name} .*{says}"):
            read(tmp_path / name)
