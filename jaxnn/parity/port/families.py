"""Which layers of the two frameworks are the same thing, and how the parameters of one are called in the other."""

from collections.abc import Iterable
from typing import NamedTuple

from jaxnn.interop.layout import Layout, convolution, dense

_FAMILIES = {
    **dict.fromkeys(("linear", "nondynamicallyquantizablelinear"), "linear"),
    **dict.fromkeys(("conv", "conv1d", "conv2d", "conv3d"), "convolution"),
    **dict.fromkeys(("batchnorm", "batchnorm1d", "batchnorm2d", "batchnorm3d"), "batch norm"),
    **dict.fromkeys(("embedding", "embed"), "embedding"),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), "dropout"),
    **dict.fromkeys(("layernorm",), "layer norm"),
    **dict.fromkeys(("groupnorm",), "group norm"),
}

_LEAF_NAMES = {
    "weight": ("kernel", "scale", "embedding", "weight"),
    "running_mean": ("mean", "running_mean"),
    "running_var": ("var", "running_var"),
}


class Site(NamedTuple):
    """A module of an NNX model: its path, its family, and the shape of each parameter and buffer that it owns."""

    path: tuple[str | int, ...]
    family: str
    leaves: dict[str, tuple[int, ...]]


class Match(NamedTuple):
    """A PyTorch parameter or buffer, the attribute of the NNX module that plays it, and how one becomes the other."""

    name: str
    leaf: str
    layout: Layout


def family(classes: Iterable[str]) -> str:
    """Of the names of a class and its bases, the most derived first; a class of no known family is one of its own."""
    names = [name.lower().lstrip("_") for name in classes]
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), names[0])


def matches(
    shapes: dict[str, tuple[int, ...]], site: Site, flatten: tuple[int, int, int] | None = None
) -> list[Match] | None:
    """How ``site`` can hold a layer's parameters and buffers, by their shapes in PyTorch; None if it cannot.

    A name decides the axes, never a shape: ``kernel`` is Flax's, (..., in, out); all else lies as in PyTorch.
    A bias, or buffers' count of batches, may be missing from the site.
    """
    found = []
    for name, shape in shapes.items():
        leaf = next((leaf for leaf in _LEAF_NAMES.get(name, (name,)) if leaf in site.leaves), None)
        if leaf is None:
            if may_miss(name):
                continue
            return None
        layout = layout_of(leaf, len(shape), flatten if name == "weight" else None)
        if layout.shape_in_nnx(shape) != site.leaves[leaf]:
            return None
        found.append(Match(name, leaf, layout))
    return found


def may_miss(name: str) -> bool:
    """Whether a layer without this parameter is still that layer, though not the same."""
    return name in ("bias", "num_batches_tracked")


def layout_of(leaf: str, ndim: int, flatten: tuple[int, int, int] | None = None) -> Layout:
    """Of an NNX attribute that holds a PyTorch tensor of ``ndim`` dimensions."""
    if leaf != "kernel":
        return Layout(flatten=flatten)
    return dense(flatten) if ndim == 2 else convolution(ndim - 2)
