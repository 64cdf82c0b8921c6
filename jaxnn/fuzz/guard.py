"""What every reader promises: given anything, it returns or refuses in one sentence, soon and in little memory."""

import contextlib
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxnn.errors import UserError

T = TypeVar("T")

SECONDS = 20  # a case; most take milliseconds, but the machine may have other work
MEBIBYTES = 512  # above what the process had before the case
_CEILING = 4096  # MiB above it that the system refuses, so that a blow-up ends one test and not the machine
_UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
_LONGEST = 3000  # characters of a sentence


class Hang(BaseException):
    """A case that takes too long; no Exception, which a reader may catch."""


@dataclass(frozen=True)
class Reader:
    """``cases``: what to give it; ``read``: called with a case and a folder of its own, the way a command does it.

    ``names``: what a refusal has to mention, mostly the file.
    """

    cases: st.SearchStrategy[Any]
    read: Callable[[Any, Path], Any]
    names: str
    mebibytes: int = MEBIBYTES


def property_of(reader: Reader, folder: Path, *, examples: int, seen: list[int] | None = None) -> Callable[[], None]:
    """The promise as a Hypothesis test of so many examples; few ones are always the same."""

    @settings(
        max_examples=examples,
        derandomize=examples < 1000,
        deadline=None,
        database=None,
        suppress_health_check=_UNHURRIED,
    )
    @given(case=reader.cases)
    def holds(case: Any) -> None:
        if seen is not None:
            seen.append(0)
        with guarded(mebibytes=reader.mebibytes):
            try:
                reader.read(case, folder)
            except UserError as error:
                require_sentence(error, reader.names)

    return holds


def require_sentence(error: UserError, names: str) -> None:
    """One line that a terminal can show, and that says where."""
    text = str(error)
    assert text.strip() and text.isprintable(), f"not one printable line: {text!r}"
    assert names in text, f"{names} is not named in {text!r}"
    assert len(text) < _LONGEST, f"{len(text)} characters: {text[:200]!r}"


@contextlib.contextmanager
def guarded(*, mebibytes: int = MEBIBYTES, seconds: float = SECONDS) -> Iterator[None]:
    """Fails for what takes longer, needs more memory, warns or prints."""
    before = _memory("VmRSS")
    with _address_space(_CEILING), _alarm(seconds), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _forget_peak()
        yield
    grown = (_memory("VmHWM") - before) // 1024
    assert grown < mebibytes, f"{grown} MiB"
    assert not said, f"warns: {said[0].message}"


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _address_space(mebibytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, ((_memory("VmSize") + mebibytes * 1024) * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _memory(field: str) -> int:
    """A field of Linux's /proc/self/status in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split(maxsplit=1)[0])


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def hold_ten_thousand(reader: Reader, folder: Path) -> None:
    """The property of ``reader`` on 10,000 cases; fails if fewer were tried."""
    seen: list[int] = []
    property_of(reader, folder, examples=10_000, seen=seen)()
    assert len(seen) >= 10_000
