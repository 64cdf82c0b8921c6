"""``jaxnn launch``: several processes on this machine in the place of as many hosts."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from jaxnn.cli.arguments import has, parse
from jaxnn.errors import Ended, UserError

_PATIENCE = 60  # seconds that the others have to end by themselves after one was lost
_LOOK = 0.1  # seconds


@dataclass(frozen=True)
class Options:
    """Run `jaxnn train` in N processes that train one run together: jaxnn launch -n 4 -- train RECIPE --out RUN ..."""

    processes: Annotated[int, tyro.conf.arg(aliases=("-n",))]
    """How many processes. Each has all devices of a CPU for itself, or one GPU."""


def run(argv: list[str]) -> int:
    own, _, command = _split(argv)
    options = parse(Options, own, prog="jaxnn launch")
    if options.processes < 1:
        raise UserError(f"--processes must be at least 1, but it is {options.processes}")
    if command[:1] != ["train"]:
        raise UserError("after -- comes the training to launch: `jaxnn launch -n 2 -- train RECIPE --out RUN`")
    for flag in ("--distributed", "--coordinator", "--num-processes", "--process-id"):
        if has(flag, command):
            raise UserError(f"jaxnn launch gives {flag} itself; leave it out")
    with _started(command, options.processes) as children:
        codes = _wait(children)
    lost = [f"process {i} was ended by {_signal(code)}" for i, code in enumerate(codes) if code < 0]
    if lost:
        raise Ended(f"{', '.join(lost)}; the others have ended", 1)
    return next((code for code in codes if code), 0)


def _split(argv: list[str]) -> tuple[list[str], str, list[str]]:
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], "--", argv[at + 1 :]


def _signal(code: int) -> str:
    return signal.Signals(-code).name


@contextlib.contextmanager
def _started(command: Sequence[str], count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """The processes; signals to this one go to all of them, and none outlives it."""
    coordinator = f"127.0.0.1:{_free_port()}"
    children: list[subprocess.Popen[str]] = []
    said: set[str] = set()

    def pass_on(number: int, frame: Any) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in range(count):
            place = ["--coordinator", coordinator, "--num-processes", str(count), "--process-id", str(number)]
            # A session of its own: a terminal's Ctrl-C comes to this process alone, which passes it on once.
            child = subprocess.Popen(  # nosec B603  # this interpreter and this program, without a shell
                [sys.executable, "-m", "jaxnn", *command, "--distributed", *place],
                env=os.environ | {"JAX_LOCAL_DEVICE_IDS": str(number)},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            children.append(child)
            threading.Thread(target=_relay, args=(child, number, said), daemon=True).start()
        yield children
    finally:
        for child in children:
            child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def _relay(child: "subprocess.Popen[str]", number: int, said: set[str]) -> None:
    """What a process says on its standard error, with its number if it is not the first; what all say once."""
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("jaxnn: ") and line in said:
            continue
        said.add(line)
        sys.stderr.write(line if number == 0 else f"[{number}] {line}")
        sys.stderr.flush()


def _wait(children: "list[subprocess.Popen[str]]") -> list[int]:
    """The exit codes; once a process has failed the others have a while to end by themselves."""
    deadline = float("inf")
    while any(child.poll() is None for child in children):
        if deadline == float("inf") and any(child.returncode for child in children):
            deadline = time.monotonic() + _PATIENCE
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(_LOOK)
    return [child.returncode for child in children]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
