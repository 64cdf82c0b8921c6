"""Training disturbed inside this process: one sentence, the right exit code, and the same bits after all."""

import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn.checkpoint import Checkpoints
from jaxnn.cli import main
from jaxnn.experiment import Experiment
from jaxnn.interop import export_run
from jaxnn.run_dir import RunDir

TRAIN = ["train", "breast-cancer", "--epochs", "4"]
CUT = {
    "truncated": lambda content: content[:-1],
    "a bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "emptied": lambda content: b"",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run left alone, with checkpoints of steps 273 (the best), 360 and 364 (the last)."""
    run = tmp_path_factory.mktemp("alone") / "run"
    assert main([*TRAIN, "--checkpoint-every", "40", "--keep-checkpoints", "2", "--out", str(run)]) == 0
    return run


def end(run: Path) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    timed = {"seconds", "examples_per_second"}
    rows = [{name: row[name] for name in row.keys() - timed} for row in RunDir(run).read_metrics()]
    return rows, export_run.weights_of(RunDir(run), RunDir(run).read_recipe()[0], "jax", lambda text: None)


def assert_same_end(run: Path, other: Path) -> None:
    (rows, weights), (other_rows, other_weights) = end(run), end(other)
    assert rows == other_rows
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, other_weights[name], err_msg=name)


def steps(run: Path) -> list[int]:
    with Checkpoints(RunDir(run).checkpoints) as checkpoints:
        return checkpoints.steps


@pytest.mark.parametrize("damage", CUT)
def test_damage_is_told_and_the_checkpoint_before_is_used(
    damage: str, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    newest = RunDir(run).checkpoints / "364"
    largest = max((file for file in newest.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    largest.write_bytes(CUT[damage](largest.read_bytes()))
    assert main(["evaluate", str(run), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "checkpoints/364 is damaged" in captured.err and "going back to the one before it" in captured.err
    assert main(["evaluate", str(run), "--checkpoint", "364"]) == 2
    assert "checkpoints/364 is damaged" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert "checkpoints/364 is damaged" in capsys.readouterr().out
    assert_same_end(run, alone)


def test_the_checkpoint_that_is_asked_for(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = RunDir(alone).read_metrics()
    best = max(rows, key=lambda row: row["test_accuracy"])
    kept = steps(alone)
    assert best["step"] in kept and best is not rows[-1]  # else this test shows nothing
    for choice, row in {"best": best, "newest": rows[-1], str(rows[-1]["step"]): rows[-1]}.items():
        assert main(["evaluate", str(alone), "--checkpoint", choice, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["test_loss"] == row["test_loss"], choice
    for choice, says in {
        "1": f"has no checkpoint of step 1; it has {', '.join(map(str, kept))}",
        "last": "takes newest, best or the number of a step, but it is 'last'",
    }.items():
        assert main(["evaluate", str(alone), "--checkpoint", choice]) == 2
        assert says in capsys.readouterr().err


PHASES = {
    "compiling": (Experiment, "warm_up"),
    "in an epoch": (Experiment, "advance"),
    "evaluating": (Experiment, "evaluate"),
    "writing metrics": (RunDir, "append_metrics"),
    "writing a checkpoint": (Checkpoints, "_write"),
}


@pytest.mark.parametrize(
    ("phase", "number"), [*((phase, signal.SIGTERM) for phase in PHASES), ("in an epoch", signal.SIGINT)]
)
def test_a_signal_in_any_phase_is_followed_by_a_checkpoint(
    phase: str,
    number: signal.Signals,
    alone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    owner, name = PHASES[phase]
    before = getattr(owner, name)
    first = itertools.count()

    def signalled(*args: Any, **kwargs: Any) -> Any:
        if next(first) == 0:
            os.kill(os.getpid(), number)
        return before(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signalled)
        assert main([*TRAIN, "--checkpoint-every", "40", "--out", str(run)]) == 128 + number
    error = capsys.readouterr().err
    assert error.startswith("jaxnn: interrupted after step ") and error.count("\n") == 1
    assert f"`jaxnn train --resume --out {run}` continues there" in error
    [stopped] = [int(word) for word in error.replace(";", " ").split() if word.isdecimal()]
    assert stopped == steps(run)[-1] < 364
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert_same_end(run, alone)


def test_a_clock_set_back_changes_nothing(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, ticks, saved = time.time(), itertools.count(), []
    save = Checkpoints.save
    monkeypatch.setattr(time, "time", lambda: start - 3600 * next(ticks))
    monkeypatch.setattr(Checkpoints, "save", lambda self, of: [saved.append(of.step), save(self, of)])
    run = tmp_path / "run"
    assert main([*TRAIN, "--checkpoint-every", "0s", "--out", str(run)]) == 0
    assert saved[1:] == [91, 182, 273, 364]  # each time it looks
    RunDir(run).checkpoints.joinpath("364", "checkpoint.json").unlink()
    for path in RunDir(run).checkpoints.rglob("*"):  # the newer, the older for whoever looks at files
        step = int(path.relative_to(RunDir(run).checkpoints).parts[0])
        os.utime(path, (start - step, start - step))
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert_same_end(run, alone)


def _killed_while_created(run: Path) -> None:
    (run / "checkpoints").mkdir(parents=True)


def _killed_while_replaced(run: Path) -> None:
    assert main([*TRAIN, "--epochs", "1", "--out", str(run)]) == 0
    (run / "recipe.json").unlink()


def _killed_while_written(run: Path) -> None:
    assert main([*TRAIN, "--epochs", "1", "--out", str(run)]) == 0
    (run / "checkpoints" / ".99.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (run / "checkpoints" / ".9.removed").mkdir()
    (run / ".recipe.json.x1").write_text("{")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "st')


LEFT: dict[str, Callable[[Path], None]] = {
    "killed while it was created": _killed_while_created,
    "killed while it was replaced": _killed_while_replaced,
    "killed while it was written": _killed_while_written,
}


@pytest.mark.parametrize(
    ("left", "way"), [*((left, "--resume") for left in LEFT), ("killed while it was replaced", "--overwrite")]
)
def test_what_a_killed_process_leaves_is_no_obstacle(
    left: str, way: str, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    LEFT[left](run)
    if not RunDir(run).exists():
        assert main(["train", "--resume", "--out", str(run)]) == 2
        assert "has no recipe.json to go on with; name the recipe" in capsys.readouterr().err
    assert main([*TRAIN, way, "--out", str(run)]) == 0
    assert_same_end(run, alone)
    assert not list(RunDir(run).checkpoints.glob(".*"))
