"""orbax in a thread of its own, and silent: what fails is raised, and told once."""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import absl.logging

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="orbax")  # two threads inside orbax can wait for each other for ever
_REASONS = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO


def submit(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """Calls ``function``, which may use orbax, in orbax's thread."""
    return _THREAD.submit(function, *args, **kwargs)


def reason(error: BaseException) -> str:
    """Why the operating system refused; tensorstore has that inside a long text."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next((why for why in map(os.strerror, _REASONS) if why in str(error)), "the disk may be full")


def silence() -> None:
    """Keeps orbax from printing: a report of each save, and after a failure what its unfinished reads and writes run
    into. To be called before each use, as a test or a caller may have set other filters; a second call changes nothing.
    """
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").addFilter(_is_not_of_orbax)
    warnings.filterwarnings("ignore", r"coroutine '\w+Handler\.\w+' was never awaited", RuntimeWarning)
    if sys.unraisablehook is not _Unraisable.hook:
        _Unraisable.before, sys.unraisablehook = sys.unraisablehook, _Unraisable.hook


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return "orbax" not in message and "tensorstore" not in message


class _Unraisable:
    """tensorstore ends its writes one by one, though the event loop of the save is closed after the first failure."""

    before: Callable[[Any], Any] = sys.__unraisablehook__

    @staticmethod
    def hook(raised: Any) -> None:
        if raised.object is not None or str(raised.exc_value) != "Event loop is closed":
            _Unraisable.before(raised)
