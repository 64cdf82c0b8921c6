"""Files that appear whole or not at all: written under a temporary name, flushed to the disk and renamed."""

import contextlib
import os
import tempfile
from pathlib import Path

from jaxnn.errors import UserError


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with the home folder in place of ~. Raises UserError if there is none, and as ``require_utf8`` does."""
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no home folder of that user; write the path in full") from None
    require_utf8(os.path.abspath(found))
    return found


def require_utf8(name: str) -> None:
    """Raises UserError for the name of a file or folder that no record in JSON could hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} has a name that is not UTF-8; rename it") from None


def require_writable(path: Path) -> None:
    """Tries to write where the run will be: permissions, full disks and read-only mounts all show."""
    nearest = path
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"x")  # an empty file fits on a full disk
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {nearest}: {error.strerror}") from error


def require_file(file: Path, *, overwrite: bool) -> None:
    """Raises UserError unless ``file`` can be written, and is new or may be replaced."""
    if file.is_dir():
        raise UserError(f"{file} is a folder; name a file in it")
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists already; add --overwrite to replace it, or name another file")
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise UserError(f"{file} cannot be written: {file.parent}: {error.strerror}") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces ``path`` in one step; a reader sees the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_folder(folder: Path) -> None:
    """Brings the names in ``folder`` to the disk, so that a renamed file is still there after a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        sync(folder)


def sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
