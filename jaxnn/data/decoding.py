"""Picture files as arrays."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from jaxnn.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_GREY = ("L", "1", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")

Pixels = UInt8[np.ndarray, "height width ..."]
Images = UInt8[np.ndarray, "images height width channels"]


@contextlib.contextmanager
def refusing_bombs() -> Iterator[None]:
    """Inside, ``decode`` refuses files of too many pixels, and is silent of damaged EXIF.

    Around threads and not in them: warnings are global.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
        yield


def decode(data: bytes, name: str, *, on_white: bool = False) -> Pixels:
    """The pixels of a PNG, JPEG, BMP or WEBP file: (height, width) if it is grey, else (height, width, 3).

    Upright, as the file's EXIF orientation says. ``on_white``: what is transparent shows white; else the alpha channel
    is left out. Raises UserError, which calls the file ``name``, for a broken file, one of too many pixels or one of
    more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            mode = image.mode
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):  # where its warning is no error
                raise Image.DecompressionBombError
            _turn_upright(image)
            picture = _on_white(image) if on_white and image.has_transparency_data else image
            if mode in _GREY + _COLOUR:
                wanted = "L" if mode in _GREY else "RGB"
                return np.asarray(picture if picture.mode == wanted else picture.convert(wanted))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"{name} has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller or remove it"
        ) from error
    except Exception as error:  # Pillow's decoders fail on damaged bytes in many ways
        raise UserError(f"{name} is a broken image; replace or remove it") from error
    raise UserError(f"{name} has pixels of mode {mode}; save it with 8 bits a channel")


def is_grey(path: Path) -> bool:
    """Whether the file would be decoded as grey, by its header. Raises UserError if that is broken."""
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.mode in _GREY
    except Exception as error:
        raise UserError(f"{path} is a broken image; replace or remove it") from error


def as_batch(pixels: Pixels) -> Images:
    """A batch of one, of 1 or 3 channels."""
    return pixels.reshape(1, *pixels.shape[:2], -1)


def _turn_upright(image: "Image.Image") -> None:
    from PIL import ImageOps

    image.load()  # so that what fails below is not the pixels
    with contextlib.suppress(Exception):  # damaged EXIF, which Pillow reads in many ways, turns nothing
        ImageOps.exif_transpose(image, in_place=True)


def _on_white(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
