"""One run in several processes on this machine: the same parameters as in one, and what happens when one is killed.

As a program this file is the command ``jaxnn`` that notes which examples its process reads.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import cli

BOUND = 1e-12
MLP = ["train", "mnist-mlp", "--dataset", "digits", "--batch-size", "64", "--precision", "float64"]
BATCH_NORM = ["train", "fashion-mlp-bn", "--dataset", "digits", "--batch-size", "64", "--precision", "float64"]
STEPS = 30  # 22 batches of 64, one of 29, and 7 of the next epoch


def launched(count: int, *train: str | Path | int, timeout: float = 250) -> tuple[int, str]:
    """Exit code and standard error of ``jaxnn launch``."""
    argv = [sys.executable, "-m", "jaxnn", "launch", "-n", str(count), "--", *map(str, train)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stderr


def alone(run: Path, *train: str) -> Path:
    """The same run in a process of its own."""
    argv = [sys.executable, "-m", "jaxnn", *train, "--out", str(run)]
    assert subprocess.run(argv, capture_output=True).returncode == 0
    return run


def saved(run: Path, step: int) -> dict[str, np.ndarray]:
    import jax

    from jaxnn.checkpoint import Checkpoints

    with Checkpoints(run / "checkpoints") as checkpoints:
        state = checkpoints.restore(step, None).state
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def assert_equal(run: Path, other: Path, step: int) -> None:
    """Every array of the two checkpoints, relative to its largest number, and every row but for its times."""
    mine, theirs = saved(run, step), saved(other, step)
    assert mine.keys() == theirs.keys()
    errors = {name: np.abs(theirs[name] - mine[name]).max() / max(np.abs(mine[name]).max(), 1e-3) for name in mine}
    assert {name: error for name, error in errors.items() if error >= BOUND} == {}
    for row, same in zip(rows(run), rows(other), strict=True):
        assert row == {name: pytest.approx(value, rel=BOUND) for name, value in same.items()}


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("seconds", "examples_per_second")} for line in lines
    ]


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    """Started by hand, as on two hosts: equal results, each reads its half, one reports, both save."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    train = [*BATCH_NORM, "--steps", str(STEPS), "--json", "--out", str(tmp_path / "two")]
    place = ["--distributed", "--coordinator", coordinator, "--num-processes", "2", "--process-id"]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path / f"{number}.json"), *train, *place, str(number)],
            env=os.environ | {"JAXNN_WATCHED": "1"},  # else it would only watch another one
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    said = [(of.stdout.read(), of.stderr.read()) for of in processes if of.stdout and of.stderr]
    assert [process.wait() for process in processes] == [0, 0], said
    assert json.loads(said[0][0])["test_accuracy"] > 0.2
    assert said[1] == ("", "")
    assert_equal(tmp_path / "two", alone(tmp_path / "one", *BATCH_NORM, "--steps", str(STEPS)), STEPS)
    environment = json.loads((tmp_path / "two" / "environment.json").read_text())
    assert (environment["mesh"], environment["processes"]) == ({"data": 2, "model": 1}, 2)
    parts = tmp_path / "two" / "checkpoints" / str(STEPS) / "state"
    assert all(any((parts / f"ocdbt.process_{number}" / "d").iterdir()) for number in (0, 1))
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    full = [batch for batch in range(len(first)) if len(first[batch]) == 32]
    assert len(full) >= 22
    assert all(len(second[batch]) == 32 and not set(first[batch]) & set(second[batch]) for batch in full)
    assert first[full[0]] == first[full[1]]  # of the step that was compiled before time was taken
    epoch = {example for of in (first, second) for batch in full[1:23] for example in of[batch]}
    assert len(epoch) == 22 * 64
    uneven = [batch for batch in range(len(first)) if len(first[batch]) == 29]
    assert uneven and all(first[batch] == second[batch] for batch in uneven)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--coordinator", "a:1"], "are for --distributed"),
        (["--distributed", "--coordinator", "a:1"], "give all three, or none"),
        (["--distributed", "--coordinator", "a", "--num-processes", "2", "--process-id", "0"], "takes HOST:PORT"),
        (["--distributed", "--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"], "from 0 to 1"),
        (["--mesh", "data=2", "--seeds", "2"], "share one run"),
        pytest.param(["--mesh", "data=2", "--framework", "torch"], "torchrun", marks=pytest.mark.torch),
        (["--mesh", "data=1000"], "needs 1000 devices, but there are"),
        (["--mesh", "eight"], "--mesh takes data=8"),
    ],
)
def test_what_cannot_be_shared(argv: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert cli.main(["train", "mnist-mlp", "--dataset", "digits", "--out", str(out), *argv]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-n", "0", "--", "train"], "at least 1"),
        (["-n", "2", "--", "evaluate", "run"], "after -- comes the training"),
        (["-n", "2"], "after -- comes the training"),
        (["-n", "2", "--", "train", "mnist-mlp", "--distributed"], "gives --distributed itself"),
    ],
)
def test_what_cannot_be_launched(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["launch", *argv]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["data=4", "data=2,model=2"])
def test_four_processes(mesh: str, tmp_path: Path) -> None:
    code, said = launched(4, *MLP, "--mesh", mesh, "--steps", STEPS, "--out", tmp_path / "four")
    assert code == 0, said
    assert_equal(tmp_path / "four", alone(tmp_path / "one", *MLP, "--steps", str(STEPS)), STEPS)


@pytest.mark.slow
def test_other_numbers_of_processes_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for count, steps in ((2, 10), (4, 25)):
        code, said = launched(count, *MLP, "--steps", steps, "--resume", "--out", run)
        assert code == 0, said
    alone(run, *MLP, "--steps", str(STEPS), "--resume")
    assert_equal(run, alone(tmp_path / "one", *MLP, "--steps", str(STEPS)), STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others(victim: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = [*MLP, "--epochs", "100000", "--checkpoint-every", "20", "--out", str(run)]
    with _launch(train, 2) as parent:
        _wait_for(lambda: any(path.name.isdecimal() for path in (run / "checkpoints").glob("*")))
        killed, began = _child(parent.pid, victim), time.monotonic()
        os.kill(killed, signal.SIGKILL)
        _, said = parent.communicate(timeout=60)
        assert time.monotonic() - began < 60
    assert parent.returncode == 1
    assert f"process {victim} was ended by SIGKILL" in said
    if victim == 1:  # without process 0, which coordinates, JAX may end the others before they can speak
        assert "another process of this run has ended or cannot be reached" in said and "--resume" in said
    newest = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    end = newest + STEPS
    code, said = launched(2, *MLP, "--steps", end, "--resume", "--out", run)
    assert code == 0, said
    assert_equal(run, alone(tmp_path / "one", *MLP, "--steps", str(end)), end)


@pytest.mark.slow
def test_a_signal_to_one_saves_and_ends_all(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with _launch([*MLP, "--epochs", "100000", "--checkpoint-every", "20", "--out", str(run)], 2) as parent:
        _wait_for(lambda: any(path.name.isdecimal() for path in (run / "checkpoints").glob("*")))
        os.kill(_child(parent.pid, 1), signal.SIGTERM)  # as a cluster's scheduler may: to one alone
        _, said = parent.communicate(timeout=60)
    assert parent.returncode == 143
    assert "interrupted after step" in said
    assert list(run.glob("checkpoints/.*")) == []


@contextlib.contextmanager
def _launch(train: list[str], count: int):
    argv = [sys.executable, "-m", "jaxnn", "launch", "-n", str(count), "--", *train]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as parent:
        try:
            yield parent
        finally:
            parent.terminate()


def _wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _child(parent: int, number: int) -> int:
    """The process of that --process-id."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{parent}\n" in (folder / "status").read_text():
                if (folder / "cmdline").read_bytes().endswith(f"--process-id\0{number}\0".encode()):
                    return int(folder.name)
    raise AssertionError("it has ended already")


if __name__ == "__main__":
    from jaxnn.data import stream

    read: list[list[int]] = []
    batches = stream.batches

    def noted(split: Any, examples: np.ndarray) -> Any:
        read.extend(examples.tolist())
        return batches(split, examples)

    stream.batches = noted
    status = cli.main(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(read))
    sys.exit(status)
