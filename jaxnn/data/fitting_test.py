"""Images brought to a model's size and channels, columns standardized."""

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import Dataset, Split, prepare
from jaxnn.errors import UserError
from jaxnn.recipe import Input


def images(height: int, width: int, channels: int) -> Dataset:
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (n, height, width, channels)).astype(np.uint8) for n in (5, 3))
    labels = np.zeros(5, np.int32)
    return Dataset("pictures", Split(train, labels), Split(test, labels[:3]), ("a",), "here")


def table(train: np.ndarray, test: np.ndarray) -> Dataset:
    parts = [Split(x.astype(np.float32), np.zeros(len(x), np.int32)) for x in (train, test)]
    return Dataset("numbers", parts[0], parts[1], ("a",), "here")


def test_padding_centers_on_zeros():
    dataset = images(28, 28, 1)
    padded = prepare(dataset, Input(size=32, channels=1, fit="pad")).train.inputs
    assert padded.shape == (5, 32, 32, 1) and padded.dtype == np.uint8
    np.testing.assert_array_equal(padded, np.pad(dataset.train.inputs, ((0, 0), (2, 2), (2, 2), (0, 0))))


def test_padding_gives_the_odd_row_to_the_end():
    padded = prepare(images(5, 4, 3), Input(size=8, fit="pad")).test.inputs
    np.testing.assert_array_equal(padded, np.pad(images(5, 4, 3).test.inputs, ((0, 0), (1, 2), (2, 2), (0, 0))))


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pillows(channels):
    dataset = images(20, 30, channels)
    resized = prepare(dataset, Input(size=28)).train.inputs
    for before, after in zip(dataset.train.inputs, resized, strict=True):
        picture = Image.fromarray(before[..., 0] if channels == 1 else before)
        expected = np.asarray(picture.resize((28, 28), Image.Resampling.BILINEAR)).reshape(28, 28, channels)
        np.testing.assert_array_equal(after, expected)


def test_channels():
    grey, color = images(8, 8, 1), images(8, 8, 3)
    repeated = prepare(grey, Input(size=8, channels=3)).train.inputs
    np.testing.assert_array_equal(repeated, np.concatenate([grey.train.inputs] * 3, axis=3))
    to_grey = prepare(color, Input(size=8, channels=1)).train.inputs
    for before, after in zip(color.train.inputs, to_grey, strict=True):
        np.testing.assert_array_equal(after[..., 0], np.asarray(Image.fromarray(before).convert("L")))


def test_what_fits_is_left_alone():
    dataset = images(28, 28, 1)
    assert prepare(dataset, Input(size=28, channels=1)).train.inputs is dataset.train.inputs
    numbers = table(np.ones((3, 2)), np.ones((2, 2)))
    assert prepare(numbers, Input()) is numbers


def test_columns_are_standardized_by_the_training_split():
    random = np.random.default_rng(0)
    train, test = random.normal(1000, 3, (50, 4)).astype(np.float32), random.normal(0, 1, (9, 4)).astype(np.float32)
    scaled = prepare(table(train, test), Input(standardize=True))
    exact = train.astype(np.float64)
    for part, inputs in ((train, scaled.train.inputs), (test, scaled.test.inputs)):
        expected = (part - exact.mean(0)) / exact.std(0)
        np.testing.assert_array_equal(inputs, expected.astype(np.float32))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_column_becomes_zero(value):
    train, test = np.full((7, 2), value), np.full((3, 2), value + 1)
    scaled = prepare(table(train, test), Input(standardize=True))
    assert not scaled.train.inputs.any() and not scaled.test.inputs.any()


@pytest.mark.parametrize(
    ("dataset", "input", "sentence"),
    [
        (
            images(33, 20, 1),
            Input(size=32, fit="pad"),
            "20x33 is too large to be padded to 32x32; use --input.fit resize",
        ),
        (images(8, 8, 1), Input(standardize=True), "pictures holds images but this recipe takes a table"),
        (table(np.ones((3, 2)), np.ones((2, 2))), Input(size=28), "numbers is a table but this recipe takes images"),
    ],
    ids=["pad", "images", "table"],
)
def test_what_cannot_fit_is_refused(dataset, input, sentence):
    with pytest.raises(UserError) as caught:
        prepare(dataset, input)
    assert sentence in str(caught.value)
