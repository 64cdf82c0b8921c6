"""Processes of a run, watched from one that does not take part: JAX ends them with abort() where they lose each other.

Nothing in such a process can speak then; what watches it says in one sentence what happened.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from jaxnn.cli.signals import handled
from jaxnn.errors import Ended

_PATIENCE = 30  # seconds that the others have to end by themselves after one has failed
_LOOK = 0.1  # seconds
_MARK = "JAXNN_WATCHED"
_OF_JAX = re.compile(
    r"[IWE]\d{4} |Additional GRPC error|:UNKNOWN:|\*\*\* |    @ |This suggests that|Barrier result|The tasks have|\d+$"
)  # what C++ logs of a lost peer
_FATAL = re.compile(r"F\d{4} .*?(?:absl::Status: (?P<why>.{1,200}))?$")


def is_watched() -> bool:
    """Whether this is a process that ``watch`` has started."""
    return _MARK in os.environ


def end_with_watcher() -> None:
    """Has this process end when the one that watches it does, however that ends."""

    def wait() -> None:
        os.read(0, 1)  # nothing ever comes but the end
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def watch(commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]], *, resume: str) -> int:
    """Runs ``commands`` of jaxnn at once and returns the exit code of the first that has one other than 0.

    Signals go to all; what they say on standard error is shown, with their number if it is not the first. Raises Ended
    if a process was ended by a signal; ``resume`` says how to go on.
    """
    with _Children(commands, environments) as children:
        codes = children.wait()
    killed = {number: code for number, code in enumerate(codes) if code < 0 and code != -signal.SIGABRT}
    if killed and len(codes) > 1:
        who = ", ".join(
            f"process {number} was ended by {signal.Signals(-code).name}" for number, code in killed.items()
        )
        raise Ended(f"{who}, and so the others have ended; {resume}", 1)
    if killed:
        raise Ended(f"ended by {signal.Signals(-codes[0]).name}; {resume}", 128 - codes[0])
    failed = next((code for code in codes if code > 0), 0)
    if failed or -signal.SIGABRT not in codes:
        return failed
    why = f" ({children.why})" if children.why else ""
    raise Ended(f"another process of this run did not come, has ended or cannot be reached{why}; {resume}", 1)


class _Children:
    def __init__(self, commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> None:
        self.why = ""
        self._started = list(zip(commands, environments, strict=True))
        self._processes: list[subprocess.Popen[str]] = []
        self._relays: list[threading.Thread] = []
        self._said: set[str] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Children":
        self._stack.enter_context(handled(self._pass_on))
        for number, (command, environment) in enumerate(self._started):
            # A session of its own: a terminal's Ctrl-C comes to this process alone, which passes it on once.
            process = subprocess.Popen(  # nosec B603  # this interpreter and this program, without a shell
                [sys.executable, "-m", "jaxnn", *command],
                env=os.environ | environment | {_MARK: "1"},
                stdin=subprocess.PIPE,  # ``end_with_watcher``
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._processes.append(process)
            self._relays.append(threading.Thread(target=self._relay, args=(process, number), daemon=True))
            self._relays[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        self._stack.close()

    def wait(self) -> list[int]:
        """The exit codes; once a process has failed the others have a while to end by themselves."""
        deadline = float("inf")
        while any(process.poll() is None for process in self._processes):
            if deadline == float("inf") and any(process.returncode for process in self._processes):
                deadline = time.monotonic() + _PATIENCE
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK)
        codes = [process.poll() for process in self._processes]
        for process in self._processes:
            process.kill()
        for relay in self._relays:
            relay.join()
        return [-signal.SIGABRT if code is None else code for code in codes]  # it would not end by itself

    def _pass_on(self, number: int, frame: Any) -> None:
        for process in self._processes:
            process.send_signal(number)

    def _relay(self, process: "subprocess.Popen[str]", number: int) -> None:
        """What a process says on its standard error: what all say once, and not what C++ logs before it aborts."""
        assert process.stderr is not None
        fatal = False
        for line in process.stderr:
            if found := _FATAL.match(line):
                fatal, self.why = True, self.why or found["why"] or ""
            own = line.startswith("jaxnn: ")
            if (own and line in self._said) or (not own and (fatal or _OF_JAX.match(line))):
                continue
            self._said.add(line)
            sys.stderr.write(line if own or number == 0 else f"[{number}] {line}")
            sys.stderr.flush()
