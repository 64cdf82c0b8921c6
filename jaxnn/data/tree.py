"""Files in a folder or in a tar, read one after the other: a tar is never unpacked."""

import contextlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from jaxnn.errors import UserError

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_DEEPEST = 8  # folders may be links; this ends a circle of them
_LARGEST_FILE = 2**28  # of one file inside; an image or a CIFAR batch is far smaller


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

    Raises UserError for a damaged tar, and for one with links, devices or names that lead out of it.
    """
    return _in_folder(path) if path.is_dir() else _in_tar(path)


def _in_folder(folder: Path) -> Iterator[Entry]:
    for at, folders, files in os.walk(folder, followlinks=True):
        inside = PurePosixPath(Path(at).relative_to(folder).as_posix())
        folders[:] = sorted(f for f in folders if not f.startswith(".") and len(inside.parts) < _DEEPEST)
        for name in folders:
            yield Entry(inside / name, True, bytes)
        for name in sorted(f for f in files if not f.startswith(".")):
            yield Entry(inside / name, False, Path(at, name).read_bytes)


def _in_tar(path: Path) -> Iterator[Entry]:
    with _naming_damage(path), tarfile.open(path) as tar:
        for member in tar:
            inside = _checked_name(member, path)
            if inside.parts and not any(part.startswith(".") for part in inside.parts):
                yield Entry(inside, member.isdir(), lambda member=member: _read_member(tar, member, path))
        _require_end(tar, path)


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, LZMAError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: no permission, no such file
        raise UserError(f"{path} is no tar, or a damaged one; get it again") from error


def _checked_name(member: tarfile.TarInfo, path: Path) -> PurePosixPath:
    inside = PurePosixPath(member.name)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError(f"{path}: the name {member.name!r} leads out of the archive; do not trust this file")
    if not (member.isfile() or member.isdir()):
        raise UserError(f"{path}: {member.name!r} is a link or a device; pack plain files only (tar --dereference)")
    if member.size > _LARGEST_FILE:
        raise UserError(f"{path}: {member.name!r} claims {member.size} bytes, more than a file of a data set has")
    return inside


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    with _naming_damage(path):
        stream = tar.extractfile(member)
        assert stream is not None  # it is a file: _checked_name
        return stream.read()


def _require_end(tar: tarfile.TarFile, path: Path) -> None:
    """A tar ends with a block of zeros; tarfile stops without a word at anything that is no header."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)  # type: ignore[attr-defined]
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{path} is a damaged tar: it breaks off at byte {tar.offset}; get it again")  # type: ignore[attr-defined]
