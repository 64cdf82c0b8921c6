"""Image folders and tars of them: the same arrays from both, and every fault named."""

import io
import os
import struct
import tarfile
import zlib
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import load, pictures, prepare
from jaxnn.errors import UserError
from jaxnn.recipe import Input

FORMS = ["pets", "pets.tar", "pets.tar.gz"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lead", ["", "leading/"])
@pytest.mark.parametrize("test_part", ["test", "val"])
def test_reads_given_splits(tmp_path, image_files, write_files, form, lead, test_part):
    files = {lead + name: data for name, data in image_files(parts=("train", test_part)).items()}
    dataset = load(
        str(write_files(tmp_path / form, files | {lead + "README.md": b"hello", lead + "train/cat/._0.png": b"x"}))
    )
    assert dataset.classes == ("cat", "dog") and dataset.name == "pets"
    assert dataset.train.inputs.shape == (6, 5, 6, 3) and dataset.train.inputs.dtype == np.uint8
    assert dataset.train.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert dataset.test.inputs[:, 0, 0, 0].tolist() == [100, 101, 102, 110, 111, 112]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lead", ["", "train/", "leading/"])
def test_splits_what_has_no_test_split(tmp_path, make_png, write_files, form, lead):
    files = {f"{lead}{label}/{i}.PNG": make_png(i) for label in ("a", "b") for i in range(10)}
    dataset = load(str(write_files(tmp_path / form, files)))
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert sorted(dataset.train.inputs[:8, 0, 0, 0]) == dataset.train.inputs[:8, 0, 0, 0].tolist()


def test_grey_stays_grey_unless_one_is_rgb(tmp_path, image_files, make_png, write_files):
    grey = {name: make_png(7, mode="L") for name in image_files()}
    assert load(str(write_files(tmp_path / "grey", grey))).input_shape == (5, 6, 1)
    mixed = load(str(write_files(tmp_path / "mixed", grey | {"train/cat/0.png": make_png(9)})))
    assert mixed.input_shape == (5, 6, 3)
    assert mixed.train.inputs[:2, 0, 0].tolist() == [[9, 0, 0], [7, 7, 7]]


def noise(size: tuple[int, int], channels: int) -> bytes:
    stream, random = io.BytesIO(), np.random.default_rng(size)
    pixels = random.integers(0, 256, (size[1], size[0], channels)).astype(np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(stream, "PNG")
    return stream.getvalue()


FITS: tuple[tuple[int, Literal["pad", "resize"]], ...] = ((8, "resize"), (11, "resize"), (11, "pad"), (15, "pad"))
INPUTS = [Input(size=size, channels=channels, fit=fit) for size, fit in FITS for channels in (None, 1, 3)]
COLOURS = {"grey": (1, 1), "RGB": (3, 3), "grey and RGB": (1, 3)}


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("colours", COLOURS)
def test_images_of_one_size_are_fitted_as_the_whole_set_is(tmp_path, write_files, form, colours):
    """And what is kept of one input is not taken for another."""
    files = {f"{c}/{n}.png": noise((11, 8), COLOURS[colours][c]) for c in (0, 1) for n in range(5)}
    path = str(write_files(tmp_path / form, files))
    for input in INPUTS * 2:
        expected, found = prepare(load(path), input), load(path, input=input)
        assert found.fingerprint == expected.fingerprint == prepare(found, input).fingerprint, input


@pytest.mark.parametrize("input", INPUTS, ids=str)
def test_images_of_many_sizes_are_what_predict_sees(tmp_path, write_files, input):
    parts, labels = ("train", "test"), ("a", "b")
    names = [f"{part}/{label}/{n}.png" for part in parts for label in labels for n in range(3)]
    path = write_files(
        tmp_path / "pets", {n: noise((3 + i % 9, 1 + i % 7), 3 - i % 2 * 2) for i, n in enumerate(names)}
    )
    dataset = load(str(path), input=input)
    assert dataset.input_shape == (input.size, input.size, input.channels or 3)
    seen = pictures.read([path / n for n in names], input, shape=dataset.input_shape, trained_on=dataset.name)
    assert seen.notes == []
    np.testing.assert_array_equal(np.concatenate([dataset.train.inputs, dataset.test.inputs]), seen.inputs)


def test_an_image_too_large_to_be_padded_is_named(tmp_path, write_files):
    path = write_files(tmp_path / "pets", {f"{c}/{n}.png": noise((6 + n, 5), 3) for c in "ab" for n in range(5)})
    with pytest.raises(UserError, match=r"pets: a/3.png: 9x5 is too large to be padded to 8x8; use --input.fit resize"):
        load(str(path), input=Input(size=8, fit="pad"))


def huge_png() -> bytes:
    """A header that claims 20,000 x 20,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


FAULTS = {
    "broken": ({"train/dog/1.png": b"not an image"}, "train/dog/1.png is a broken image"),
    "no bytes": ({"train/dog/1.png": b""}, "train/dog/1.png is a broken image"),
    "cut short": ({"train/dog/1.png": noise((6, 5), 3)[:-60]}, "train/dog/1.png is a broken image"),
    "sizes": (
        {"train/dog/1.png": (9, 5)},
        "train/cat/0.png is 6x5 but train/dog/1.png is 9x5; bring all images to one size, or train with --image-size N",
    ),
    "bomb": ({"train/dog/1.png": huge_png()}, "train/dog/1.png has more than"),
    "16 bits": ({"train/dog/1.png": "I;16"}, "train/dog/1.png has pixels of mode I;16"),
    "empty class": ({"train/emu/": b""}, "class train/emu has no images"),
    "class not in test": ({"train/emu/1.png": (6, 5)}, "class test/emu has no images"),
    "class not in train": ({"test/emu/1.png": (6, 5)}, "class train/emu has no images"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(tmp_path, image_files, make_png, write_files, form, fault):
    changes, sentence = FAULTS[fault]
    for name, change in changes.items():
        if isinstance(change, tuple):
            change = make_png(1, change)
        changes = {name: make_png(1, mode=change) if isinstance(change, str) else change}
    path = write_files(tmp_path / form, image_files() | changes)
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert sentence in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("files", [{}, {"cat/": b""}, {"notes.txt": b"x"}, {"1.png": b"flat"}], ids=str)
def test_nothing_found_is_said(tmp_path, files, make_png, write_files):
    (tmp_path / "pets").mkdir()
    files = {name: make_png(1) if data == b"flat" else data for name, data in files.items()}
    with pytest.raises(UserError, match="pets holds no images"):
        load(str(write_files(tmp_path / "pets", files)))


def test_one_class_is_refused(tmp_path, make_png, write_files):
    path = write_files(tmp_path / "pets", {f"train/cat/{i}.png": make_png(1) for i in range(9)})
    with pytest.raises(UserError, match="'cat' is the only class"):
        load(str(path))


@pytest.mark.parametrize("input", [None, Input(size=8, channels=1)])
def test_pixels_that_few_bytes_stand_for_are_limited(tmp_path, write_files, monkeypatch, input):
    monkeypatch.setattr("jaxnn.limits._PICTURES", 2**20)
    stream = io.BytesIO()
    Image.new("L", (1000, 1000)).save(stream, "PNG")
    write_files(tmp_path / "pets", {f"{label}/{i}.png": stream.getvalue() for label in "ab" for i in range(5)})
    if input is not None:  # fitted one by one
        assert len(load(str(tmp_path / "pets"), input=input).train) == 8
        return
    with pytest.raises(UserError, match=r"pets: its images have over \d+ bytes of pixels, .* --image-size N"):
        load(str(tmp_path / "pets"))


def tar_with(path, name: str, **fields) -> str:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    return str(path)


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("../../cat/1.png", {}, "leads out of the archive"),
        ("/etc/cat/1.png", {}, "leads out of the archive"),
        ("cat/1.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link or a device"),
        ("cat/1.png", {"type": tarfile.LNKTYPE, "linkname": "x"}, "is a link or a device"),
        ("cat/1.png", {"type": tarfile.CHRTYPE}, "is a link or a device"),
        ("cat/1.png", {"size": 2**28 + 1}, "claims 268435457 bytes"),
    ],
)
def test_a_tar_that_reaches_out_is_refused(tmp_path, name, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        load(tar_with(tmp_path / "evil.tar", name, **fields))


def test_a_damaged_tar_is_named_wherever_it_breaks_off(tmp_path, image_files, write_files):
    whole = write_files(tmp_path / "pets.tar", image_files()).read_bytes()
    end = len(whole.rstrip(b"\0"))
    cuts = {n: whole[:n] for n in (0, 100, 512, 700, 1024, 2048, 3000, end // 1024 * 1024)}
    flipped = whole[:3172] + b"\xff" + whole[3173:]  # in the checksum of the fourth header
    for n, data in (*cuts.items(), ("flipped", flipped)):
        path = tmp_path / f"cut-{n}.tar"
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"cut-{n}.tar is "):
            load(str(path))
    zipped = write_files(tmp_path / "zipped.tar.gz", image_files())
    zipped.write_bytes(zipped.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"zipped.tar.gz is no tar, or a damaged one"):
        load(str(zipped))


def test_a_folder_is_read_again_when_a_class_is_added(tmp_path, image_files, write_files):
    path = write_files(tmp_path / "pets", image_files())
    load(str(path))
    (path / "train" / "emu").mkdir()
    with pytest.raises(UserError, match="class train/emu has no images"):
        load(str(path))


def test_a_tar_is_decoded_once_and_again_when_it_changes(tmp_path, image_files, make_png, write_files, monkeypatch):
    path = write_files(tmp_path / "pets.tar", image_files())
    first = load(str(path))
    with monkeypatch.context() as context:
        context.setattr(Image, "open", None)  # whatever decodes now, fails
        again = load(str(path))
    assert again.fingerprint == first.fingerprint and again.source == str(path)
    before = os.stat(path)
    write_files(path, image_files() | {"train/cat/0.png": make_png(77)})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert load(str(path)).train.inputs[0, 0, 0, 0] == 77
