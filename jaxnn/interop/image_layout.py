"""The layout of the inputs of an exported model."""

from typing import Literal

import numpy as np

Layout = Literal["nchw", "nhwc"]
"""Of images: channels first, as PyTorch has them, or last. Tables have but one."""


def in_layout(inputs: np.ndarray, layout: Layout) -> np.ndarray:
    """Images (N, height, width, channels), or a table as it is, as a file of ``layout`` takes them."""
    moved = inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 and layout == "nchw" else inputs
    return np.ascontiguousarray(moved)


def shape_in(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """The shape of an example (height, width, channels), or (features,), in ``layout``."""
    return (shape[2], *shape[:2]) if len(shape) == 3 and layout == "nchw" else shape
