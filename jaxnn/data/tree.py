"""Files in a folder or in a tar, read one after the other: a tar is never unpacked."""

import bz2
import contextlib
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from jaxnn import limits
from jaxnn.errors import UserError

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


@dataclass(frozen=True)
class Entry:
    """A file or folder inside; ``read`` works until the next entry is asked for."""

    path: PurePosixPath
    is_folder: bool
    read: Callable[[], bytes]


def is_tar(path: Path) -> bool:
    """Whether the file is named as a tar; what is in it shows when it is read."""
    return path.name.lower().endswith(_TAR_ENDINGS) and path.is_file()


def entries(path: Path) -> Iterator[Entry]:
    """Everything in a folder or a tar, names relative to it, hidden files left out.

    Raises UserError for a damaged tar, and for one with links, devices or names that lead out of it, or that holds more
    than a file of its size should (see ``jaxnn.limits``).
    """
    return _in_folder(path) if path.is_dir() else _in_tar(path)


def _in_folder(folder: Path) -> Iterator[Entry]:
    for at, folders, files in os.walk(folder, followlinks=True):
        inside = PurePosixPath(Path(at).relative_to(folder).as_posix())
        deeper = len(inside.parts) < limits.DEEPEST_FOLDERS
        folders[:] = sorted(f for f in folders if not f.startswith(".") and deeper)
        for name in folders:
            yield Entry(inside / name, True, bytes)
        for name in sorted(f for f in files if not f.startswith(".")):
            yield Entry(inside / name, False, Path(at, name).read_bytes)


def _in_tar(path: Path) -> Iterator[Entry]:
    with _naming_damage(path), path.open("rb") as file, _unpacking(file, path) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                inside = _checked_name(member, path)
                if inside.parts and not any(part.startswith(".") for part in inside.parts):
                    yield Entry(inside, member.isdir(), lambda member=member: _read_member(tar, member, path))
            _require_end(tar, path)


class _Stream:
    """The bytes of a tar. Refuses what no data set needs: a long header, or far more than the file is large."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._most = limits.unpacked(path.stat().st_size)
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= limits.LARGEST_READ:
            raise UserError(f"{self._path}: a header in it claims {size} bytes; do not trust this file")
        self._require(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._require(position)
        return self._stream.seek(position)

    def _require(self, position: int) -> None:
        if position > self._most:
            raise UserError(
                f"{self._path} unpacks to over {self._most} bytes, far more than a data set of its size would"
            )


@contextlib.contextmanager
def _unpacking(file: IO[bytes], path: Path) -> Iterator[Any]:
    start = file.read(2)
    file.seek(0)
    if start not in _PACKED:
        yield _Stream(file, path)
        return
    with _PACKED[start](file) as stream:
        yield _Stream(stream, path)


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: no permission, no such file
        raise UserError(f"{path} is no tar, or a damaged one; get it again") from error


def _checked_name(member: tarfile.TarInfo, path: Path) -> PurePosixPath:
    inside = PurePosixPath(member.name)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError(f"{path}: the name {member.name!r} leads out of the archive; do not trust this file")
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise UserError(
            f"{path}: {member.name!r} is a link or a device, or sparse; pack plain files only (tar --dereference)"
        )
    if not 0 <= member.size <= limits.LARGEST_MEMBER:
        raise UserError(f"{path}: {member.name!r} claims {member.size} bytes, which no file of a data set has")
    return inside


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    with _naming_damage(path):
        stream = tar.extractfile(member)
        assert stream is not None  # it is a file: _checked_name
        return b"".join(iter(lambda: stream.read(limits.LARGEST_READ), b""))


def _require_end(tar: tarfile.TarFile, path: Path) -> None:
    """A tar ends with a block of zeros; tarfile stops without a word at anything that is no header."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)  # type: ignore[attr-defined]
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{path} is a damaged tar: it breaks off at byte {tar.offset}; get it again")  # type: ignore[attr-defined]
