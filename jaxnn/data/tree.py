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

from jaxnn import files, limits
from jaxnn.errors import UserError

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}

_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError, RecursionError)


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
    than a file of its size should (see ``jaxnn.limits``); in a folder for pipes, devices and links to a folder around
    them; in both for names that are not UTF-8.
    """
    return _in_folder(path, PurePosixPath()) if path.is_dir() else _in_tar(path)


def _in_folder(folder: Path, inside: PurePosixPath, around: tuple[Path, ...] = ()) -> Iterator[Entry]:
    """``around``: the folders that led to ``inside``, to one of which a link may lead back."""
    here = folder / inside
    with os.scandir(here) as found:
        inner = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
    for each in inner:
        files.require_utf8(each.path)
        if not (each.is_file() or each.is_dir()):
            raise UserError(f"{each.path} is neither a file nor a folder; remove it")
    folders = [each for each in inner if each.is_dir() and len(inside.parts) < limits.DEEPEST_FOLDERS]
    for each in folders:
        if each.is_symlink() and any(os.path.samefile(each, outer) for outer in (here, *around)):
            raise UserError(f"{each.path} is a link to a folder that it lies in; remove it")
        yield Entry(inside / each.name, True, bytes)
    for each in inner:
        if each.is_file():
            yield Entry(inside / each.name, False, Path(each).read_bytes)
    for each in folders:
        yield from _in_folder(folder, inside / each.name, (here, *around))


def _in_tar(path: Path) -> Iterator[Entry]:
    with _naming_damage(path), path.open("rb") as file, _unpacking(file, path) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                inside = _checked_name(member, path)
                if inside.parts and not any(part.startswith(".") for part in inside.parts):
                    stream.left = member.size
                    yield Entry(inside, member.isdir(), lambda member=member: _read_member(tar, member, path))
                stream.left = limits.LARGEST_READ
            _require_end(tar, path)


class _Stream:
    """The bytes of a tar. Refuses what no data set needs: long headers, or far more than the file is large."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._most = limits.unpacked(path.stat().st_size)
        self.tell = stream.tell
        self.left = limits.LARGEST_READ  # bytes to be read before the next file, or of this one

    def read(self, size: int) -> bytes:
        if not 0 <= size <= limits.LARGEST_READ:
            raise UserError(f"{self._path}: a header in it claims {size} bytes; do not trust this file")
        self._require(self._stream.tell() + size)
        self.left -= size
        if self.left < 0:
            raise UserError(
                f"{self._path}: over {limits.LARGEST_READ} bytes of headers stand before a file in it; do not trust it"
            )
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
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: no permission, no such file
        raise UserError(f"{path} is no tar, or a damaged one; get it again") from error


def _checked_name(member: tarfile.TarInfo, path: Path) -> PurePosixPath:
    files.require_utf8(f"{path}: {member.name}")
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
