"""``--seeds`` and ``--sweep``: runs in folders of their own, a summary and a picture; stopped, continued, diverging."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jaxnn.cli import backends, main, torch_process
from jaxnn.cli.console import TrainingDisplay
from jaxnn.experiment import Experiment
from jaxnn.run_dir import RunDir

DIGITS = ["train", "mnist-mlp", "--dataset", "digits"]


def untimed(run: Path) -> list[dict[str, Any]]:
    timed = {"seconds", "examples_per_second"}
    return [{name: row[name] for name in row.keys() - timed} for row in RunDir(run).read_metrics()]


def picture(out: Path) -> Image.Image:
    image = Image.open(io.BytesIO((out / "curves.png").read_bytes()))
    image.load()
    return image


def test_seeds_and_a_sweep_have_folders_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    argv = [*DIGITS, "--epochs", "1", "--seed", "3", "--seeds", "2", "--sweep", "batch_size=6,12"]
    assert main([*argv, "--json", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("2 runs together") == 2  # a group for each batch size
    summary = json.loads(shown.out)
    folders = {str(path.parent.relative_to(out)) for path in out.rglob("recipe.json")}
    assert folders == {f"batch_size={b}/seed-{s}" for b in (6, 12) for s in (3, 4)}
    accuracies = [one["test_accuracy"] for one in summary["runs"]]
    assert summary["test_accuracy"] == pytest.approx(sum(accuracies) / 4)
    assert summary == json.loads((out / "summary.json").read_text())
    assert picture(out).format == "PNG"
    for one in summary["runs"]:
        assert main(["evaluate", one["run"], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["test_accuracy"] == one["test_accuracy"]
        assert RunDir(Path(one["run"])).read_recipe()[0].seed == one["seed"]


def test_runs_spread_over_devices_compute_what_they_do_on_one(tmp_path: Path) -> None:
    rows = []
    for devices in ("1", "2"):
        out = tmp_path / devices
        command = [sys.executable, "-m", "jaxnn", *DIGITS, "--steps", "160", "--precision", "float64", "--seeds", "4"]
        environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
        subprocess.run([*command, "--out", str(out)], check=True, env=environment | {"JAX_NUM_CPU_DEVICES": devices})
        of_seeds = [out / f"seed-{seed}" for seed in range(420, 424)]
        assert len(json.loads((of_seeds[0] / "environment.json").read_text())["devices"]) == int(devices)
        rows.append([untimed(run)[-1] for run in of_seeds])
    one, two = rows
    for name in ("train_loss", "test_loss", "test_accuracy"):
        expected = [row[name] for row in one]
        assert len(set(expected)) > 1
        assert [row[name] for row in two] == pytest.approx(expected, rel=1e-12)


def test_interrupted_seeds_go_on_to_the_same_end_and_more_can_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    argv = ["train", "breast-cancer", "--seed", "1"]
    command = [sys.executable, "-m", "jaxnn", *argv, "--seeds", "3", "--epochs", "5000", "--out", str(stopped)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not RunDir(stopped / "seed-3").read_metrics() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 143
    assert f"the same command with --resume --out {stopped}" in error and error.count("\n") == 1
    done = len(RunDir(stopped / "seed-1").read_metrics()) + 1
    assert 1 < done < 5000
    argv += ["--epochs", str(done)]
    assert main([*argv, "--seeds", "3", "--out", str(whole)]) == 0
    assert main([*argv, "--seeds", "3", "--resume", "--out", str(stopped)]) == 0
    for seed in (1, 2, 3):
        assert untimed(stopped / f"seed-{seed}") == untimed(whole / f"seed-{seed}")
    capsys.readouterr()
    assert main([*argv, "--seeds", "4", "--resume", "--out", str(stopped)]) == 0
    assert capsys.readouterr().out.count("finished already") == 3
    assert [row["epoch"] for row in untimed(stopped / "seed-4")] == list(range(1, done + 1))
    longer = ["train", "--resume", "--out", str(stopped / "seed-2"), "--epochs", str(done + 1)]  # alone
    assert main(longer) == 0
    assert len(RunDir(stopped / "seed-2").read_metrics()) == done + 1


OF_MANY = "the same command with --resume --out"


@pytest.mark.parametrize(
    ("signalled", "code", "says"), [(1, 143, f"jaxnn: interrupted; {OF_MANY} OUT goes on there\n"), (2, 0, "")]
)
def test_a_signal_at_the_very_end_of_a_run_starts_no_other(
    signalled: int,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluate, calls = Experiment.evaluate, itertools.count(1)

    def evaluated(*given: Any) -> Any:  # after the last look at the signals
        if next(calls) == signalled:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*given)

    monkeypatch.setattr(Experiment, "evaluate", evaluated)
    argv = ["train", "breast-cancer", "--epochs", "1", "--sweep", "batch_size=50,60", "--out", str(tmp_path)]
    assert main(argv) == code
    assert capsys.readouterr().err == says.replace("OUT", str(tmp_path))
    assert len(RunDir(tmp_path / "batch_size=50").read_metrics()) == 1
    assert (tmp_path / "batch_size=60").exists() == (tmp_path / "summary.json").exists() == (code == 0)


# In place of PyTorch: is signalled in one of the runs, whose last event may follow.
CHILD = """
import json, os, pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
signal.alarm(60)
sys.stdin.read()
out = sys.argv[sys.argv.index("--out") + 1]
os.makedirs(out)
print('{"event": "ready"}', flush=True)
if out.endswith(SEED):
    print('{"event": "notice", "text": ""}', flush=True)
    signal.sigwait([signal.SIGTERM])
    print(json.dumps(LAST), flush=True)
    sys.exit(LAST.get("code", 0))
print('{"event": "result", "test_accuracy": 0.5}')
"""
RESULT = {"event": "result", "test_accuracy": 1.0}
STOPPED = {"event": "error", "code": 143, "message": "of this run alone", "step": 7}


@pytest.mark.parametrize(
    ("seed", "last", "code", "says"),
    [
        ("seed-420", STOPPED, 143, f"jaxnn: interrupted after step 7; {OF_MANY} OUT goes on there\n"),
        ("seed-420", RESULT, 143, f"jaxnn: interrupted; {OF_MANY} OUT goes on there\n"),
        ("seed-421", RESULT, 0, ""),
    ],
)
def test_a_signal_to_runs_in_pytorch(
    seed: str,
    last: dict[str, Any],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    child = CHILD.replace("SEED", repr(seed)).replace("LAST", repr(last))
    monkeypatch.setattr(torch_process, "_COMMAND", (sys.executable, "-c", child))
    monkeypatch.setattr(backends, "_require_installed", lambda framework: None)
    monkeypatch.setattr(TrainingDisplay, "notice", lambda *_: signal.raise_signal(signal.SIGTERM))
    argv = [*DIGITS, "--framework", "torch", "--seeds", "2", "--out", str(tmp_path)]
    assert main(argv) == code
    assert capsys.readouterr().err == says.replace("OUT", str(tmp_path))
    assert (tmp_path / "seed-421").exists() == (tmp_path / "summary.json").exists() == (code == 0)


@pytest.mark.parametrize("folder", ["seed-420", "epochs=1", "epochs=1/seed-420"])
@pytest.mark.parametrize("argv", [["train"], ["train", "--seeds", "2"], DIGITS])
def test_to_go_on_with_many_runs_takes_all_of_their_command(
    argv: list[str], folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "recipe.json").touch()
    assert main([*argv, "--resume", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path} holds several runs" in error and f"--out {tmp_path / folder}`" in error
    assert "--seeds or --sweep" in error and error.count("\n") == 1


@pytest.mark.parametrize("framework", ["jax", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow])])
def test_a_diverging_value_of_a_sweep_stops_alone(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*DIGITS, "--framework", framework, "--optimizer.name", "sgd", "--epochs", "2", "--out", str(tmp_path)]
    assert main([*argv, "--sweep", "optimizer.learning-rate=0.1,1e30,0.2", "--json"]) == 1
    shown = capsys.readouterr()
    bad = tmp_path / "optimizer.learning_rate=1e30"
    assert f"jaxnn: {bad}: the loss became" in shown.err
    first, failed, last = json.loads(shown.out)["runs"]
    assert "the loss became" in failed["error"] and RunDir(bad).read_metrics() == []
    assert (first["epoch"], last["epoch"]) == (2, 2)
    assert json.loads(shown.out)["test_accuracy"] == pytest.approx((first["test_accuracy"] + last["test_accuracy"]) / 2)
    assert picture(tmp_path).format == "PNG"


def test_every_run_may_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*DIGITS, "--optimizer.name", "sgd", "--seeds", "2", "--sweep", "optimizer.learning-rate=1e29,1e30"]
    assert main([*argv, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.count("/seed-42") == 4
    assert picture(tmp_path).format == "PNG"
