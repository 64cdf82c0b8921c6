"""What the first layer of a network looks for, as pictures."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Filters(NamedTuple):
    """``pictures``: (filters, height, width), or with 3 colours last, from -1 to 1, 0 where a weight is 0.

    ``key``: the tensor's name in PyTorch; ``total``: how many filters there are, of which the first are pictures.
    ``colours``: whether the pictures are red, green and blue instead of signed numbers.
    """

    pictures: Float[np.ndarray, "filters height width *colours"]
    key: str
    total: int

    @property
    def colours(self) -> bool:
        return self.pictures.ndim == 4


def first_layer(
    state_dict: Mapping[str, np.ndarray], input_shape: tuple[int, ...], *, at_most: int = 64
) -> Filters | None:
    """The first matrix or kernel of a network in PyTorch's layout, for images (height, width, channels).

    None if its filters are no pictures: a table's, or an image's with other than 1 or 3 channels.
    """
    found = next(((key, value) for key, value in state_dict.items() if value.ndim in (2, 4)), None)
    if found is None or len(input_shape) != 3 or input_shape[2] not in (1, 3):
        return None
    key, weight = found
    height, width, channels = input_shape
    if weight.ndim == 2:
        if weight.shape[1] != height * width * channels:
            return None
        weight = weight.reshape(-1, channels, height, width)
    pictures = weight[:at_most].astype(np.float64).transpose(0, 2, 3, 1)
    largest = np.abs(pictures).max(initial=0.0)
    if not np.isfinite(largest):
        return None
    pictures = pictures / (largest or 1.0)
    return Filters(pictures if channels == 3 else pictures[..., 0], key, len(weight))
