"""The child process and signals: what the command says and returns, with a child that stands in for PyTorch."""

import signal
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from jaxnn import recipes
from jaxnn.cli import torch_process
from jaxnn.cli.console import TrainingDisplay
from jaxnn.errors import Ended, Interrupted
from jaxnn.run_dir import RunDir
from jaxnn.together import Job

CHILD = """
import json, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
signal.alarm(60)
sys.stdin.read()
def say(event, **fields):
    print(json.dumps({"event": event} | fields), flush=True)
def signalled():
    say("notice", text="")  # at which this test signals its own process
    signal.sigwait([signal.SIGINT])
"""
DONE = "say('result', step=9)"
STOPPED = "say('error', code=130, message='', step=7); sys.exit(130)"
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"  # by the system, for lack of memory

GOES_ON = "interrupted; `jaxnn train --resume --out RUN` goes on from its newest checkpoint"
AFTER_7 = "interrupted after step 7; `jaxnn train --resume --out RUN` continues there"
SILENT = "the PyTorch process ended without saying why"
CASES = {
    "train": {
        "done before it heard": (f"say('ready'); signalled(); {DONE}", None),
        "saved and stopped": (f"say('ready'); signalled(); {STOPPED}", (AFTER_7, 130)),
        "killed while it saved": (f"say('ready'); signalled(); {KILLED}", (GOES_ON, 130)),
        "signalled before it was ready": ("signalled()", ("interrupted before the first step", 130)),
        "stopped by another": (f"say('ready'); {STOPPED}", (AFTER_7, 130)),
        "killed": (f"say('ready'); {KILLED}", (SILENT, 137)),
    },
    "resume": {"signalled before it was ready": ("signalled()", ("interrupted before anything was done", 130))},
    "evaluate": {
        "signalled": ("signalled()", ("interrupted", 130)),
        "killed": (KILLED, (SILENT, 137)),
        "done": (DONE, None),
    },
}


def run(child: str, command: str, received: list[int], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(torch_process, "_COMMAND", (sys.executable, "-c", CHILD + child))
    training = None
    if command != "evaluate":
        job = Job(recipes.get("mnist-mlp"), cast("Any", None), RunDir(Path("RUN")))
        display = TrainingDisplay("", epochs=1, steps=9, examples=1, quiet_stdout=False)
        training = torch_process.Training(job, display, None, received, command == "resume")
    return torch_process.run([], lambda text: signal.raise_signal(signal.SIGINT), training=training)


@pytest.mark.parametrize(("command", "case"), [(command, case) for command, cases in CASES.items() for case in cases])
def test_how_the_child_ends(command: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child, ends = CASES[command][case]
    received: list[int] = []
    if ends is None:
        assert run(child, command, received, monkeypatch) == {"step": 9}
    else:
        with pytest.raises(Ended) as ended:
            run(child, command, received, monkeypatch)
        assert (str(ended.value), ended.value.code) == ends
        of_training = command != "evaluate" and ends[1] == 130
        assert isinstance(ended.value.__cause__, Interrupted) == of_training
    assert received == [signal.SIGINT] * (command != "evaluate" and "signalled()" in child)


def test_a_signal_while_the_child_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Ended, match="before the first step") as ended:
        run(DONE, "train", [signal.SIGTERM], monkeypatch)
    assert ended.value.code == 143
