"""Arrays as pictures inside a page."""

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_LARGEST = 96  # pixels of a side
# Blue and orange, which colour-blind readers tell apart; white is 0.
_NEGATIVE, _ZERO, _POSITIVE = np.array([[179, 88, 6], [247, 247, 247], [10, 95, 168]], np.float64)


def data_uri(pixels: UInt8[np.ndarray, "height width *channels"]) -> str:
    """A grey or colour image as PNG, made smaller if it is large."""
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    image.thumbnail((_LARGEST, _LARGEST))
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def signed(values: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Numbers from -1 to 1: orange below 0, blue above."""
    size = np.abs(values)[..., None]
    ends = np.where(values[..., None] < 0, _NEGATIVE, _POSITIVE)
    return np.rint(_ZERO + (ends - _ZERO) * size).astype(np.uint8)


def coloured(values: Float[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Red, green and blue from -1 to 1: grey is 0."""
    return np.rint((values + 1) * 127.5).astype(np.uint8)
