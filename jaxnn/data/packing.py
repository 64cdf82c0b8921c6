"""Any set of images written as a packed one (see ``packed``): a new folder that appears whole or not at all."""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxnn import files
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import decode, refusing_bombs
from jaxnn.data.image_files import ImageFiles
from jaxnn.data.packed import FACTS, FACTS_JSON, LABEL_BYTES, Facts, File, Part
from jaxnn.data.stored import Stored
from jaxnn.errors import UserError

_OPTIONS = "group_size:1,uncompressed"  # a record is found without its neighbours; pictures are packed already
_SHARD = 2**30  # bytes of records, after which the next shard begins
_CHUNK = 256  # examples in memory at a time


class _Seen(NamedTuple):
    """Sizes (height, width) and numbers of channels of the images so far."""

    sizes: set[tuple[int, int]]
    channels: set[int]


def pack(dataset: Dataset, folder: Path, *, shard_bytes: int = _SHARD, progress: Callable[[int], Any] = id) -> Facts:
    """Writes ``dataset`` into ``folder``, which must not exist; ``progress`` is told the number of examples done.

    Files of a folder of images are kept byte for byte, so that nothing is lost and any --image-size is left to choose;
    each is decoded once to see that it can be. All else becomes pixels, which need no decoding when they are read.
    Raises UserError for a table, a broken image and a folder that exists or cannot be written.
    """
    if not dataset.is_images:
        raise UserError(f"{dataset.name} is a table, which fits in memory; only images are packed")
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or name another folder")
    if not folder.parent.is_dir():
        raise UserError(f"{folder} cannot be written: there is no folder {folder.parent}")
    with _appearing(folder) as temporary:
        seen = _Seen(set(), set())
        done = 0
        parts = []
        for name, part in (("train", dataset.train), ("test", dataset.test)):
            shards = _Writer(temporary, name, shard_bytes)
            for rows, records in _records(part, seen):
                shards.write(part.labels[rows], records)
                done += len(records)
                progress(done)
            labels = temporary / f"{name}-labels.int32"
            part.labels.astype("<i4").tofile(labels)
            parts.append(Part(_described(labels, len(part)), tuple(shards.close())))
        facts = Facts(
            format="jaxnn images 1",
            name=dataset.name,
            classes=dataset.classes,
            records="pixels" if _image_files(dataset.train) is None else "files",
            size=seen.sizes.pop() if len(seen.sizes) == 1 else None,
            channels=3 if 3 in seen.channels else 1,
            train=parts[0],
            test=parts[1],
        )
        (temporary / FACTS).write_bytes(FACTS_JSON.dump_json(facts, indent=1))
        for file in temporary.iterdir():
            files.sync(file)
    return facts


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder that is called ``folder`` once all is in it, and is gone if that fails."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        files.sync_folder(temporary)
        temporary.rename(folder)
        files.sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _image_files(split: Split) -> tuple[ImageFiles, Int[np.ndarray, " examples"]] | None:
    """The files that a split's images are in as they are, and the number of each."""
    stored: Any = split.inputs
    if isinstance(stored, Stored) and isinstance(stored.source, ImageFiles) and not stored.fits:
        return stored.source, stored.rows
    return None


def _records(split: Split, seen: _Seen) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """Row numbers and what follows the label in their records."""
    found = _image_files(split)
    with ThreadPoolExecutor(os.cpu_count()) as pool, refusing_bombs():
        for start in range(0, len(split), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(split)))
            if found is None:
                images = split.inputs[rows]
                seen.sizes.add(images.shape[1:3])
                seen.channels.add(images.shape[3])
                yield rows, [image.tobytes() for image in images]
                continue
            source, numbers = found
            checked = list(pool.map(functools.partial(_checked, source), numbers[rows]))
            for _, pixels in checked:
                seen.sizes.add((pixels[0], pixels[1]))
                seen.channels.add(3 if len(pixels) == 3 else 1)
            yield rows, [data for data, _ in checked]


def _checked(source: ImageFiles, row: int) -> tuple[bytes, tuple[int, ...]]:
    data = source.read(row)
    return data, decode(data, source.where(row)).shape


class _Writer:
    """Shards of one split, one after the other."""

    def __init__(self, folder: Path, name: str, shard_bytes: int) -> None:
        self._folder, self._name, self._most = folder, name, shard_bytes
        self._done: list[File] = []
        self._open: Any = None
        self._bytes = self._examples = 0

    def write(self, labels: np.ndarray, records: list[bytes]) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        for label, record in zip(labels.tolist(), records, strict=True):
            if self._open is None:
                self._open = ArrayRecordWriter(str(self._path), _OPTIONS)
            with self._saying_where():
                self._open.write(label.to_bytes(LABEL_BYTES, "little") + record)
            self._bytes += len(record)
            self._examples += 1
            if self._bytes >= self._most:
                self._end_shard()

    def close(self) -> list[File]:
        if self._open is not None:
            self._end_shard()
        return self._done

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}-{len(self._done):05d}.array_record"

    def _end_shard(self) -> None:
        with self._saying_where():
            self._open.close()
        self._done.append(_described(self._path, self._examples))
        self._open, self._bytes, self._examples = None, 0, 0

    @contextlib.contextmanager
    def _saying_where(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # the C++ library's, for a full disk too
            said = (str(error).splitlines() or ["no reason given"])[0]
            raise UserError(f"{self._folder.parent}: the shards cannot be written ({said}); make room there") from error


def _described(file: Path, examples: int) -> File:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(file.name, examples, file.stat().st_size, digest)
