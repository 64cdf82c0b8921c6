"""Folders of images, one a class, or a tar of them: [train/]CLASS/*.png|jpg, and test/CLASS/* or val/CLASS/*."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxnn import cores, limits
from jaxnn.data import aligned, split, tree
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import ENDINGS, Images, as_batch, decode, refusing_bombs
from jaxnn.data.fitting import fit_images
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_WHOLE = ""  # the split of images that lie in CLASS/ without train/ above
_TEST_NAMES = ("test", "val", "validation")
_BATCH = 1024  # files in memory at a time
_BATCH_BYTES = 2**28  # and of these no more: photos are large
_WORTH_A_THREAD = 8192  # bytes: Pillow decodes outside Python's lock, but below this the lock is all there is


class _Image(NamedTuple):
    path: PurePosixPath
    pixels: Images  # a batch of one


def read(path: Path, *, name: str, input: Input | None = None) -> Dataset:
    """Classes in alphabetical order, images in the order of their names; grey ones become RGB if any is RGB.

    With the ``input`` of an image recipe each image is fitted to it as jaxnn.data.prepare does, as soon as it is
    decoded: the files may differ in size, and their pixels are not all in memory. Raises UserError that names a broken
    image, two of different size or one too large to be padded, an empty class, the lack of images, or more pixels than
    ``jaxnn.limits`` allows.
    """
    images, folders = _decode(path, input)
    by_split = _placed(images, folders)
    if not by_split:
        raise UserError(f"{path} holds no images: put {', '.join(ENDINGS)} files into [train/]CLASS/ folders")
    classes = tuple(sorted({label for placed in by_split.values() for label in placed}))
    for part, placed in by_split.items():
        for label in classes:
            if not placed.get(label):
                raise UserError(
                    f"{path}: class {PurePosixPath(part, label)} has no images; add some or remove the class"
                )
    if len(classes) == 1:
        raise UserError(f"{path}: {classes[0]!r} is the only class; there must be at least two class folders")
    used = [image for placed in by_split.values() for label in classes for image in placed[label]]
    _require_one_size(used, path)
    channels = max(image.pixels.shape[3] for image in used)
    parts = [_as_split(placed, classes, rgb=channels == 3) for placed in by_split.values()]
    if len(parts) == 1:
        parts = split.stratified(parts[0].inputs, parts[0].labels, classes=classes, where=str(path))
    return Dataset(name, parts[0], parts[1], classes, str(path))


def _decode(path: Path, input: Input | None) -> tuple[list[_Image], list[PurePosixPath]]:
    """All images, fitted and sorted by name, and all folders."""
    folders: list[PurePosixPath] = []
    fitted = input is not None and input.size is not None

    def files() -> Iterator[tuple[PurePosixPath, bytes]]:
        for entry in tree.entries(path):
            if entry.is_folder:
                folders.append(entry.path)
            elif entry.path.suffix.lower() in ENDINGS:
                yield entry.path, entry.read()

    images: list[_Image] = []
    size = pixels = 0  # bytes
    with ThreadPoolExecutor(cores.usable()) as pool, refusing_bombs():
        for batch in _batches(files()):
            of_batch = sum(len(data) for _, data in batch)
            size += of_batch
            mapped = pool.map if of_batch > len(batch) * _WORTH_A_THREAD else map
            for image in mapped(functools.partial(_decode_one, path, input), batch):
                images.append(image)
                pixels += image.pixels.nbytes
                if not fitted and pixels > limits.decoded(size):
                    raise UserError(
                        f"{path}: its images have over {limits.decoded(size)} bytes of pixels, far more than files of "
                        "their size would; train with --image-size N"
                    )
    return sorted(images, key=lambda image: image.path), folders


def _batches(files: Iterator[tuple[PurePosixPath, bytes]]) -> Iterator[list[tuple[PurePosixPath, bytes]]]:
    batch, size = [], 0
    for file in files:
        batch.append(file)
        size += len(file[1])
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decode_one(path: Path, input: Input | None, file: tuple[PurePosixPath, bytes]) -> _Image:
    inside, data = file
    where = f"{path}: {inside}"
    images = as_batch(decode(data, where))
    return _Image(inside, images if input is None or input.size is None else fit_images(images, input, where))


def _placed(images: list[_Image], folders: list[PurePosixPath]) -> dict[str, dict[str, list[_Image]]]:
    """{split: {class: images}}; a class folder without images is an empty list."""
    base = _base([image.path for image in images])
    tops = {image.path.relative_to(base).parts[0] for image in images if image.path.is_relative_to(base)}
    parts = [_WHOLE]
    if "train" in tops:
        parts = ["train", *[name for name in _TEST_NAMES if name in tops][:1]]
    by_split: dict[str, dict[str, list[_Image]]] = {}
    for part in parts:
        at = base / part
        placed = by_split.setdefault(part, {})
        for folder in folders:
            if folder.parent == at:
                placed.setdefault(folder.name, [])
        for image in images:
            if image.path.is_relative_to(at) and len(label_and_rest := image.path.relative_to(at).parts) > 1:
                placed.setdefault(label_and_rest[0], []).append(image)
    return {part: placed for part, placed in by_split.items() if any(placed.values())}


def _base(paths: list[PurePosixPath]) -> PurePosixPath:
    """The folder in which train/ or the classes lie: a tar may have one leading folder."""
    tops = {path.parts[0] for path in paths}
    if len(tops) == 1 and "train" not in tops and all(len(path.parts) > 2 for path in paths):
        return PurePosixPath(*tops)
    return PurePosixPath()


def _require_one_size(images: list[_Image], path: Path) -> None:
    first = images[0]
    for image in images:
        if image.pixels.shape[1:3] != first.pixels.shape[1:3]:
            sizes = [f"{i.path} is {i.pixels.shape[2]}x{i.pixels.shape[1]}" for i in (first, image)]
            raise UserError(
                f"{path}: {sizes[0]} but {sizes[1]}; bring all images to one size, or train with --image-size N"
            )


def _as_split(placed: dict[str, list[_Image]], classes: tuple[str, ...], *, rgb: bool) -> Split:
    images = [image for label in classes for image in placed[label]]
    height, width = images[0].pixels.shape[1:3]
    inputs = aligned.empty((len(images), height, width, 3 if rgb else 1))
    for row, image in zip(inputs, images, strict=True):
        row[...] = image.pixels[0]  # grey is repeated
    counts = [len(placed[label]) for label in classes]
    return Split(aligned.frozen(inputs), np.repeat(np.arange(len(classes), dtype=np.int32), counts))
