"""Compiled programs kept on disk, so that no command compiles them again; to be chosen before JAX starts."""

import os

from jaxnn.data import cache

_BYTES = 2**30  # beyond this JAX removes what was used longest ago


def choose() -> None:
    """A folder in jaxnn's cache, with programs of any compile time, where the user has not said otherwise.

    It is one for each number of threads (so call jaxnn.threads.choose before), for which XLA compiles otherwise
    and which JAX's keys leave out.
    JAX's own variables do that: JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false
    turns the cache off. An entry that cannot be read is compiled anew, a folder that cannot be written is left alone.
    """
    threads = os.environ.get("NPROC") or os.cpu_count()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.folder() / "xla" / f"{threads}-threads"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_BYTES))
