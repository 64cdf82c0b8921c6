"""What is said of processes that end, each a program of one line in the place of jaxnn."""

import sys
from pathlib import Path

import pytest

from jaxnn.cli import watch
from jaxnn.errors import Ended

# Called as PROGRAM -m jaxnn WHAT.
PROGRAM = """#!{python}
import os, signal, sys, time
match sys.argv[3]:
    case "fails":
        sys.exit(print("jaxnn: a bad thing", file=sys.stderr) or 2)
    case "aborts":
        print("E1126 18:24:17.290 7 agent.cc:289] Polled an error", file=sys.stderr)
        print("F1126 18:24:17.290 7 client.h:80] Terminating. absl::Status: UNAVAILABLE: gone", file=sys.stderr)
        print("*** Check failure stack trace: ***", "    @ 0x7f7b", "", file=sys.stderr, sep="\\n", flush=True)
        os.abort()
    case "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    case "lasts":
        time.sleep(60)
"""
LOST = "another process of this run did not come, has ended or cannot be reached"
CASES = {
    "all is well": (["ends", "ends"], 0, "", ""),
    "bad input, said once": (["fails", "fails"], 2, "", "jaxnn: a bad thing\n"),
    "JAX gives up": (["aborts"], 1, f"{LOST} (UNAVAILABLE: gone); go on", ""),
    "one is killed": (
        ["is killed", "aborts"],
        1,
        "process 0 was ended by SIGKILL, and so the others have ended; go on",
        "",
    ),
    "the only one is killed": (["is killed"], 137, "ended by SIGKILL; go on", ""),
    "one never ends": (["fails", "lasts"], 2, "", "jaxnn: a bad thing\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_how_processes_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands, code, says, shown = CASES[name]
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(watch, "_PATIENCE", 0.3)
    if says:
        with pytest.raises(Ended) as ended:
            watch.watch([[command] for command in commands], [{}] * len(commands), resume="go on")
        assert (str(ended.value), ended.value.code) == (says, code)
    else:
        assert watch.watch([[command] for command in commands], [{}] * len(commands), resume="go on") == code
    assert capsys.readouterr().err == shown
