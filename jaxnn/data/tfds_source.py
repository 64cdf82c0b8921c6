"""Sets that tensorflow-datasets has prepared: found on disk, downloaded, and read into arrays."""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from jaxnn.data import aligned
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.named import Named, Origin
from jaxnn.errors import UserError, first_line
from jaxnn.files import expanded

SILENCE = 30  # seconds in which a server has to send something
MINUTE, LEAST = 60, 2**16  # seconds, and the bytes that a server has to send in them
_CHUNK = 1000  # one record at a time is twice as slow


def root() -> Path:
    """$TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def prepared(named: Named, data_dir: Path) -> Path | None:
    """The set below ``data_dir`` if it was prepared as array_record, the one format readable without TensorFlow."""
    folder = data_dir / named.name / named.version
    about = folder / "dataset_info.json"
    if not about.is_file():
        return None
    try:
        return folder if from_json(about.read_bytes())["fileFormat"] == "array_record" else None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{about} is damaged; remove {folder} and run `jaxnn data fetch {named.name}`") from error


def read(named: Named, folder: Path) -> Dataset:
    """The arrays of a prepared set, back in the order of the original files. Raises UserError if it is damaged."""
    import tensorflow_datasets as tfds

    try:
        with _own_features():
            builder = tfds.builder_from_directory(folder)
            train, test = (_read_split(builder, part) for part in ("train", "test"))
    except Exception as error:  # array_record, protobuf and Pillow each have errors of their own
        raise UserError(
            f"{folder} is damaged ({first_line(error)}); remove it and run `jaxnn data fetch {named.name}`"
        ) from error
    return Dataset(named.name, train, test, named.classes, str(folder))


@contextlib.contextmanager
def _own_features() -> Iterator[None]:
    """Inside, tfds knows no features but its own: it imports whatever module features.json names."""
    from tensorflow_datasets.core.features.feature import FeatureConnector

    before, by_name = FeatureConnector.__dict__["cls_from_name"], FeatureConnector.cls_from_name

    def own(name: str) -> Any:
        if not name.startswith("tensorflow_datasets.core.features."):
            raise ValueError(f"features.json names {name}, which is not of tensorflow-datasets")
        return by_name(name)

    FeatureConnector.cls_from_name = staticmethod(own)  # type: ignore[method-assign]
    try:
        yield
    finally:
        FeatureConnector.cls_from_name = before


def _read_split(builder, part: str) -> Split:
    import tensorflow_datasets as tfds
    from PIL import Image

    # The image is left as the bytes of its PNG: Pillow decodes faster than tfds does without TensorFlow.
    source = builder.as_data_source(split=part, decoders={"image": tfds.decode.SkipDecoding()})
    order = _order(len(source), part)
    shape = builder.info.features["image"].shape
    inputs, labels = aligned.empty((len(source), *shape)), np.empty(len(source), np.int32)
    for start in range(0, len(source), _CHUNK):
        keys = range(start, min(start + _CHUNK, len(source)))
        for key, example in zip(keys, source.__getitems__(list(keys)), strict=True):
            pixels = np.asarray(Image.open(io.BytesIO(example["image"]), formats=["PNG"]))
            inputs[order[key]] = pixels.reshape(shape)
            labels[order[key]] = example["label"]
    return Split(aligned.frozen(inputs), labels)


def _order(n: int, part: str) -> list[int]:
    """The original number of each record: tfds sorts by the hash of the key, salted with the split's name."""
    from tensorflow_datasets.core.hashing import Hasher

    hasher = Hasher(part)
    return sorted(range(n), key=hasher.hash_key)


def download(named: Named, data_dir: Path, *, origin: Origin) -> Path:
    """Downloads and prepares the set below ``data_dir``. Raises UserError for wrong bytes or a failed download."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    from jaxnn.data.tfds_builders import BUILDERS

    data_dir.mkdir(parents=True, exist_ok=True)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        # What tfds prints is for no one; what it downloads is needed only until it is prepared.
        with (
            tempfile.TemporaryDirectory(dir=data_dir, prefix="downloads.") as downloads,
            contextlib.redirect_stdout(io.StringIO()),
            _bounded(origin),
        ):
            builder = BUILDERS[named.name](data_dir=data_dir, origin=origin)
            config = tfds.download.DownloadConfig(try_download_gcs=False)
            builder.download_and_prepare(download_dir=downloads, file_format="array_record", download_config=config)
    except NonMatchingChecksumError as error:
        raise UserError(
            f"{named.title}: what {origin.base} sent has the wrong checksum; try again later or use --data-dir"
        ) from error
    except UserError:
        raise
    except Exception as error:  # requests, tfds and the disk each have errors of their own
        raise UserError(f"{named.title} could not be fetched from {origin.base}: {first_line(error)}") from error
    return Path(builder.data_dir)


@contextlib.contextmanager
def _bounded(origin: Origin) -> Iterator[None]:
    """Inside, tfds gives up: it tries ten times, for 205 seconds, waits for a silent server and writes all that one
    sends. It checks sizes and checksums when a file is whole.
    """
    from tensorflow_datasets.core.download import downloader

    before = downloader.MAX_RETRIES, downloader._open_url
    sizes = {origin.url(file): size for file, (size, _) in origin.files.items()}

    @contextlib.contextmanager
    def opened(url: str, **options: Any) -> Iterator[tuple[Any, Iterator[bytes]]]:
        with before[1](url, timeout=SILENCE, **options) as (response, blocks):
            yield response, _at_most(sizes[url], _arriving(response, blocks))

    downloader.MAX_RETRIES, downloader._open_url = 2, opened
    try:
        yield
    finally:
        downloader.MAX_RETRIES, downloader._open_url = before


def _arriving(response: Any, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """``blocks`` as their bytes arrive: requests waits until a block is whole, however slowly that is sent."""
    read = getattr(response.raw, "read1", None)  # urllib3 2.1
    return iter(blocks) if read is None else iter(lambda: read(2**16, decode_content=True), b"")


def _at_most(size: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    began, sent = time.monotonic(), 0
    for block in blocks:
        size, sent = size - len(block), sent + len(block)
        if size < 0:
            raise OSError("more bytes than the file has")
        if time.monotonic() - began > MINUTE:
            if sent < LEAST:
                raise OSError(f"only {sent} bytes came in {MINUTE} seconds")
            began, sent = time.monotonic(), 0
        yield block
