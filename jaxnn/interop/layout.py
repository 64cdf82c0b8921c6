"""Axes: PyTorch keeps channels first and weights as (out, in, ...), Flax channels last and kernels as (..., in, out).

Every rule here is a permutation of axes, or of the features behind a flattened image, that can be undone. The
functions work on NumPy and on JAX arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a PyTorch weight becomes a leaf of an NNX model.

    ``axes``: as for numpy.transpose, empty for as they are. ``flatten``: the (channels, height, width) whose
    flattened features are the weight's second axis; NNX flattens them as (height, width, channels).
    """

    axes: tuple[int, ...] = ()
    flatten: tuple[int, int, int] | None = None

    def to_nnx(self, array: Any) -> Any:
        """(out, in) or (out, in, *kernel), or whatever ``axes`` fits -> the leaf."""
        if self.flatten is not None:
            array = channels_last_features(array, self.flatten, axis=1)
        return array.transpose(self.axes) if self.axes else array

    def to_torch(self, array: Any) -> Any:
        """Undoes ``to_nnx``."""
        if self.axes:
            array = array.transpose(tuple(self.axes.index(axis) for axis in range(len(self.axes))))
        return array if self.flatten is None else channels_first_features(array, self.flatten, axis=1)

    def shape_in_nnx(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The leaf's shape for a weight of ``shape``."""
        return tuple(shape[axis] for axis in self.axes) if self.axes else tuple(shape)


def dense(flatten: tuple[int, int, int] | None = None) -> Layout:
    """(out, in) -> (in, out)."""
    return Layout(axes=(1, 0), flatten=flatten)


def convolution(spatial: int) -> Layout:
    """(out, in, *kernel) -> (*kernel, in, out)."""
    return Layout(axes=(*range(2, 2 + spatial), 1, 0))


def channels_last(array: Any) -> Any:
    """(batch, channels, *spatial) -> (batch, *spatial, channels)."""
    return array.transpose((0, *range(2, array.ndim), 1))


def channels_first(array: Any) -> Any:
    """(batch, *spatial, channels) -> (batch, channels, *spatial)."""
    return array.transpose((0, array.ndim - 1, *range(1, array.ndim - 1)))


def channels_last_features(array: Any, image: tuple[int, int, int], *, axis: int) -> Any:
    """Features in the order (channels, height, width) -> (height, width, channels)."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    blocks = array.reshape((*before, *image, *after))  # (..., channels * height * width, ...) -> (..., c, h, w, ...)
    return _moved(blocks, axis, axis + 2).reshape(array.shape)


def channels_first_features(array: Any, image: tuple[int, int, int], *, axis: int) -> Any:
    """Undoes ``channels_last_features``."""
    channels, height, width = image
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    blocks = array.reshape((*before, height, width, channels, *after))
    return _moved(blocks, axis + 2, axis).reshape(array.shape)


def _moved(array: Any, source: int, target: int) -> Any:
    axes = [axis for axis in range(array.ndim) if axis != source]
    axes.insert(target, source)
    return array.transpose(axes)


Place = tuple[str, str]
"""Where something flows: a layer and "input" or "output"."""

INPUTS, OUTPUTS = ("", "inputs"), ("", "outputs")
"""The places of what goes into the model and of what comes out."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """How what flows between layers lies in each framework.

    Images and volumes have channels second in PyTorch and last in NNX; so have arrays of three dimensions at the
    places in ``sequences``, (batch, channels, length), while elsewhere they are (batch, length, features) in both.
    ``flattened``: the (channels, height, width) of which the features at a place are channels last in NNX.
    """

    sequences: frozenset[Place] = frozenset()
    flattened: Mapping[Place, tuple[int, int, int]] = field(default_factory=dict)

    def to_nnx(self, array: Any, place: Place) -> Any:
        if self._has_channels(array, place):
            return channels_last(array)
        image = self._image(array, place)
        return array if image is None else channels_last_features(array, image, axis=1)

    def to_torch(self, array: Any, place: Place) -> Any:
        if self._has_channels(array, place):
            return channels_first(array)
        image = self._image(array, place)
        return array if image is None else channels_first_features(array, image, axis=1)

    def _has_channels(self, array: Any, place: Place) -> bool:
        return array.ndim > 3 or (array.ndim == 3 and place in self.sequences)

    def _image(self, array: Any, place: Place) -> tuple[int, int, int] | None:
        image = self.flattened.get(place)
        fits = image is not None and array.ndim == 2 and array.shape[1] == image[0] * image[1] * image[2]
        return image if fits else None
