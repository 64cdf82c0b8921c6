"""Every layout can be undone, and says what it does in PyTorch's terms."""

import numpy as np
import pytest

from jaxnn.interop.layout import Activations, Layout, convolution, dense

IMAGE = (3, 2, 4)
LAYOUTS = {
    "as it is": (Layout(), (5,)),
    "dense": (dense(), (5, 7)),
    "dense behind a flattened image": (dense(IMAGE), (5, 24)),
    "convolution of one dimension": (convolution(1), (6, 2, 5)),
    "convolution of two": (convolution(2), (6, 2, 5, 3)),
    "axes of a rule": (Layout(axes=(3, 0, 2, 1)), (6, 2, 5, 3)),
    "a flattened image alone": (Layout(flatten=IMAGE), (5, 24)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_undone(name: str) -> None:
    layout, shape = LAYOUTS[name]
    weight = np.arange(np.prod(shape)).reshape(shape)
    leaf = layout.to_nnx(weight)
    assert leaf.shape == layout.shape_in_nnx(shape)
    np.testing.assert_array_equal(layout.to_torch(leaf), weight)


def test_a_dense_layer_behind_a_flattened_image_computes_the_same() -> None:
    random = np.random.default_rng(0)
    images, weight = random.normal(size=(2, *IMAGE)), random.normal(size=(5, 24))
    channels_last = images.transpose(0, 2, 3, 1).reshape(2, -1)
    expected = images.reshape(2, -1) @ weight.T
    np.testing.assert_allclose(channels_last @ dense(IMAGE).to_nnx(weight), expected, rtol=1e-14)
    activations = Activations(flattened={("fc", "input"): IMAGE})
    np.testing.assert_array_equal(activations.to_torch(channels_last, ("fc", "input")), images.reshape(2, -1))
    np.testing.assert_array_equal(activations.to_nnx(images.reshape(2, -1), ("fc", "input")), channels_last)
    np.testing.assert_array_equal(activations.to_nnx(images.reshape(2, -1), ("fc", "output")), images.reshape(2, -1))


@pytest.mark.parametrize(
    ("shape", "sequences", "expected"),
    [
        ((2, 3), False, (2, 3)),
        ((2, 3, 4), False, (2, 3, 4)),
        ((2, 3, 4), True, (2, 4, 3)),
        ((2, 3, 4, 5), False, (2, 4, 5, 3)),
        ((2, 3, 4, 5, 6), False, (2, 4, 5, 6, 3)),
    ],
)
def test_channels_go_last(shape: tuple[int, ...], sequences: bool, expected: tuple[int, ...]) -> None:
    place = ("layer", "output")
    activations = Activations(sequences=frozenset([place] if sequences else []))
    array = np.arange(np.prod(shape)).reshape(shape)
    moved = activations.to_nnx(array, place)
    assert moved.shape == expected
    np.testing.assert_array_equal(activations.to_torch(moved, place), array)
