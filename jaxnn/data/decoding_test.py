"""Photos stand upright, as their EXIF orientation says: in the sets that are trained on and in what is predicted."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import load, pictures
from jaxnn.data.decoding import decode
from jaxnn.recipe import Input

TURNS: dict[object, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda stored: stored,
    "no tags": lambda stored: stored,
    "no header": lambda stored: stored,
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def photo(orientation: object, kind: str) -> bytes:
    """9x6 pixels, with the EXIF ``orientation``."""
    exif = Image.Exif()
    if isinstance(orientation, int):
        exif[0x0112] = orientation
    damaged = {"no tags": b"Exif\0\0II*\0\xff\0\0\0", "no header": b"Exif\0\0no TIFF at all"}  # warns, raises
    data = ({"none": b""} | damaged).get(str(orientation), exif.tobytes())
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, exif=data)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_photo_is_turned_upright(orientation: object, kind: str, tmp_path: Path) -> None:
    expected = np.ascontiguousarray(TURNS[orientation](decode(photo("none", kind), "plain")))
    paths = [tmp_path / "photos" / label / f"{number}.jpg" for label in ("a", "b") for number in range(5)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(orientation, kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load(str(tmp_path / "photos"))
        predicted = pictures.read(paths[:1], Input(size=9), shape=(9, 9, 3), trained_on="photos")
    assert (dataset.train.inputs == expected).all()
    upright = Image.fromarray(expected).resize((9, 9), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(predicted.inputs[0], np.asarray(upright))
