"""PyTorch's part of a command: a child process, ``python -m torchref``."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxnn.cli.console import TrainingDisplay
from jaxnn.cli.signals import handled
from jaxnn.errors import Ended, Interrupted
from jaxnn.together import Job

_COMMAND = (sys.executable, "-m", "torchref")


@dataclass(frozen=True)
class Training:
    """What the child trains, and who is told: ``record`` of all events, ``received`` of the signals that came."""

    job: Job
    display: TrainingDisplay
    record: Callable[[str, dict[str, Any]], None] | None
    received: list[int]
    resume: bool

    @property
    def not_begun(self) -> str:
        return f"interrupted before {'anything was done' if self.resume else 'the first step'}"


def run(
    arguments: Sequence[str],
    notice: Callable[[str], None] = lambda text: None,
    *,
    training: Training | None = None,
    errors: int | None = None,
) -> dict[str, Any]:
    """The result of ``python -m torchref``; the other events that it prints, a JSON object a line, are shown.

    ``errors``: where its standard error goes, as subprocess has it. Raises Ended if there is no result, from
    Interrupted if signals ended a training.
    """
    display = None if training is None else training.display
    received = [] if training is None else training.received
    ready = False

    def pass_on(number: int, frame: object) -> None:
        """To the child, which saves and ends; before it listens there is nothing to save."""
        received.append(number)
        child.send_signal(number if ready else signal.SIGKILL)

    # A session of its own: a terminal's Ctrl-C comes to this process alone, which passes it on once.
    with (
        subprocess.Popen(  # nosec B603  # this interpreter and torchref, without a shell
            [*_COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as child,
        handled(pass_on),
    ):
        if received:  # while it was started
            child.kill()
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and its exit code says so
            child.stdin.write("" if training is None else training.job.recipe.to_json())
            child.stdin.close()
        result: dict[str, Any] = {}
        error: dict[str, Any] = {"message": "the PyTorch process ended without saying why"}
        for line in child.stdout:
            event = json.loads(line)
            kind = event.pop("event")
            if training is not None and training.record is not None:
                training.record(kind, event)
            match kind:
                case "ready":
                    ready = True
                case "result":
                    result = event
                case "error":
                    error = event
                case "notice":
                    notice(event["text"])
                case "progress" if display:
                    display.progress(**event)
                case "epoch" if display:
                    display.epoch([event])
            if display and display.closed and not received:
                pass_on(signal.SIGTERM, None)
        code = child.wait()
    if code == 0:  # whatever came meanwhile, all was done
        return result
    if code > 128 or (code < 0 and received):
        code = code if code > 0 else 128 + received[0]
        if training is None:
            raise Ended("interrupted", code)
        stop = Interrupted(training.job.run.path, step=error.get("step"))
        raise Ended(stop if ready else training.not_begun, code) from stop
    raise Ended(error["message"], code if code > 0 else 128 - code)
