"""Folders of images, one a class, or a tar of them: [train/]CLASS/*.png|jpg, and test/CLASS/* or val/CLASS/*."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from jaxnn import cores, limits
from jaxnn.data import aligned, class_folders, split, tree
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import ENDINGS, Images, as_batch, decode, refusing_bombs
from jaxnn.data.fitting import fit_images
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_BATCH = 1024  # files in memory at a time
_BATCH_BYTES = 2**28  # and of these no more: photos are large
_WORTH_A_THREAD = 8192  # bytes: Pillow decodes outside Python's lock, but below this the lock is all there is


def read(path: Path, *, name: str, input: Input | None = None) -> Dataset:
    """Classes in alphabetical order, images in the order of their names; grey ones become RGB if any is RGB.

    With the ``input`` of an image recipe each image is fitted to it as jaxnn.data.prepare does, as soon as it is
    decoded: the files may differ in size, and their pixels are not all in memory. Raises UserError that names a broken
    image, two of different size or one too large to be padded, an empty class, the lack of images, or more pixels than
    ``jaxnn.limits`` allows.
    """
    images, folders = _decode(path, input)
    names, labels, rows, classes = class_folders.arrange(list(images), folders, path)
    _require_one_size({name: images[name] for name in names}, path)
    channels = max(images[name].shape[3] for name in names)
    parts = [Split(_together([images[names[i]] for i in of], channels), labels[of]) for of in rows]
    if len(parts) == 1:
        parts = split.stratified(parts[0].inputs, parts[0].labels, classes=classes, where=str(path))
    return Dataset(name, parts[0], parts[1], classes, str(path))


def _decode(path: Path, input: Input | None) -> tuple[dict[str, Images], list[str]]:
    """{name: image}, fitted, each a batch of one, and all folders."""
    folders: list[str] = []
    fitted = input is not None and input.size is not None

    def files() -> Iterator[tuple[PurePosixPath, bytes]]:
        for entry in tree.entries(path):
            if entry.is_folder:
                folders.append(str(entry.path))
            elif entry.path.suffix.lower() in ENDINGS:
                yield entry.path, entry.read()

    images: dict[str, Images] = {}
    size = pixels = 0  # bytes
    with ThreadPoolExecutor(cores.usable()) as pool, refusing_bombs():
        for batch in _batches(files()):
            of_batch = sum(len(data) for _, data in batch)
            size += of_batch
            mapped = pool.map if of_batch > len(batch) * _WORTH_A_THREAD else map
            for (inside, _), image in zip(
                batch, mapped(functools.partial(_decode_one, path, input), batch), strict=True
            ):
                images[str(inside)] = image
                pixels += image.nbytes
                if not fitted and pixels > limits.decoded(size):
                    raise UserError(
                        f"{path}: its images have over {limits.decoded(size)} bytes of pixels, far more than files of "
                        "their size would; train with --image-size N"
                    )
    return images, folders


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


def _decode_one(path: Path, input: Input | None, file: tuple[PurePosixPath, bytes]) -> Images:
    inside, data = file
    where = f"{path}: {inside}"
    images = as_batch(decode(data, where))
    return images if input is None or input.size is None else fit_images(images, input, where)


def _require_one_size(images: dict[str, Images], path: Path) -> None:
    first = next(iter(images))
    for name, image in images.items():
        if image.shape[1:3] != images[first].shape[1:3]:
            sizes = [f"{each} is {images[each].shape[2]}x{images[each].shape[1]}" for each in (first, name)]
            raise UserError(
                f"{path}: {sizes[0]} but {sizes[1]}; bring all images to one size, or train with --image-size N"
            )


def _together(images: list[Images], channels: int) -> Images:
    inputs = aligned.empty((len(images), *images[0].shape[1:3], channels))
    for target, image in zip(inputs, images, strict=True):
        target[...] = image[0]  # grey is repeated
    return aligned.frozen(inputs)
