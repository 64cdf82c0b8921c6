"""Compiled programs kept on disk, so that no command compiles them again; to be chosen before JAX starts."""

import contextlib
import os
from pathlib import Path

from jaxnn import cores
from jaxnn.data import cache

_BYTES = 2**30


def folder() -> Path:
    """Where programs are kept: the user's folder, or jaxnn's, which has one for each number of threads."""
    return Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or cache.folder() / "xla")


def choose() -> None:
    """A folder in jaxnn's cache, with programs of any compile time, where the user has not said otherwise.

    It is one for each number of threads (so call jaxnn.threads.choose before), for which XLA compiles otherwise
    and which JAX's keys leave out. Beyond 1 GiB the oldest programs go.

    JAX's own variables: JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false
    turns the cache off. An entry that cannot be read is compiled anew, a folder that cannot be written is left alone.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        threads = os.environ.get("NPROC") or cores.usable()
        place = folder()
        with contextlib.suppress(OSError):  # not there yet, or another command removes the same files
            _prune(place, _BYTES)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place / f"{threads}-threads")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _prune(folder: Path, allowed: int) -> None:
    """Removes the oldest files below ``folder`` until at most ``allowed`` bytes are left.

    JAX could do that itself, but warns at every program ever after if a file lacks the time it keeps beside it.
    """
    newest_first = sorted(
        (path for path in folder.glob("*/*") if path.is_file()), key=lambda path: -path.stat().st_mtime
    )
    for path in newest_first:
        allowed -= path.stat().st_size
        if allowed < 0:
            path.unlink()
