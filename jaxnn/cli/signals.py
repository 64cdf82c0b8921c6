"""SIGINT and SIGTERM, which ask a command to end."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Inside, ``handler`` gets both signals."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Inside, both are noted in the list, for training to stop at its next pause; the third one ends the command.

    The second may come while training saves.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 2:
            raise KeyboardInterrupt(number)

    with handled(note):
        yield received
