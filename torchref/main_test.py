"""The child process: its events, exit codes, and what a signal leaves behind."""

import functools
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn.errors import Interrupted
from jaxnn.recipe import Optimizer, Recipe, TabularMLP
from jaxnn.run_dir import RunDir
from torchref.__main__ import main


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe for a CSV file of 60 rows."""
    random = np.random.default_rng(0)
    rows = [[*random.normal(size=4).round(3).tolist(), label] for label in range(3) for _ in range(20)]
    file = tmp_path / "rows.csv"
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return Recipe(name="csv", dataset=str(file), model=TabularMLP(), batch_size=10, epochs=2, log_every=2)


@pytest.fixture(autouse=True)
def _own_signal_handlers() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class _Child:
    """main() in this process: feed it a recipe, get its exit code and events."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object, given: str = "") -> tuple[int, list[dict[str, Any]]]:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        code = main([str(argument) for argument in arguments])
        return code, [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> _Child:
    return _Child(monkeypatch, capsys)


def test_events_of_a_run(child: _Child, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, events = child("train", "--out", out, given=recipe.to_json())
    assert code == 0
    steps = ["progress", "progress", "progress", "epoch"]
    assert [event["event"] for event in events] == ["ready", *steps, *steps, "result"]
    assert set(events[1]) == {"event", "epoch", "step", "steps_per_epoch", "running_loss", "accuracy", "losses"}
    last = RunDir(out).read_metrics()[-1]
    assert events[-1] == {"event": "result"} | last
    environment = json.loads((out / "environment.json").read_text())
    assert environment["data"]["fingerprint"] == RunDir(out).data_fingerprint() and environment["threads"] >= 1

    code, events = child("evaluate", "--run", out, "--split", "test")
    assert code == 0 and [event["event"] for event in events] == ["result"]
    assert {name: events[0][name] for name in ("test_loss", "test_accuracy")} == {
        name: last[name] for name in ("test_loss", "test_accuracy")
    }
    code, events = child("train", "--out", out, "--resume", given=recipe.to_json())
    assert code == 0 and [event["event"] for event in events] == ["ready", "notice", "result"]


def test_errors_are_events(child: _Child, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for given, code, says in (
        ("{}", 2, "recipe on standard input"),
        (recipe.replace(dataset=str(tmp_path / "none.csv")).to_json(), 2, "none.csv"),
        (recipe.replace(dataset=None).to_json(), 2, "--dataset"),
        (recipe.replace(rng="jax").to_json(), 2, "rng"),
        (recipe.replace(optimizer=Optimizer(learning_rate=1e38)).to_json(), 1, "learning-rate"),
    ):
        assert not out.exists()
        got, events = child("train", "--out", out, given=given)
        assert got == code and events[-1]["event"] == "error" and events[-1]["code"] == code
        assert says in events[-1]["message"]
    assert RunDir(out).read_metrics() == []
    got, events = child("evaluate", "--run", tmp_path)
    assert got == 2 and "not a run directory" in events[0]["message"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{recipe}", None),
        (b'{"framework": "jax", {recipe}', None),  # a run's
        (b'{"framework": "jax", "colour": 1, {recipe}', "colour"),
        (b"[1]", "not a valid recipe"),
        (b"PK\x03\x04\xff", "not a valid recipe"),
        (None, "No such file"),
    ],
)
def test_recipe_files(text: bytes | None, says: str | None, child: _Child, recipe: Recipe, tmp_path: Path) -> None:
    file, out, fields = tmp_path / "recipe.json", tmp_path / "run", recipe.to_json().encode()
    if text is not None:
        file.write_bytes(text.replace(b", {recipe}", b"," + fields[1:]).replace(b"{recipe}", fields))
    code, events = child("train", "--recipe", file, "--out", out)
    if says is None:
        assert code == 0 and RunDir(out).read_recipe() == (recipe, "torch")
    else:
        assert code == 2 and str(file) in events[-1]["message"] and says in events[-1]["message"]
        assert not out.exists()


@pytest.mark.parametrize(
    ("where", "signals", "says"),
    [
        ("data.load_for", 1, {"message": "interrupted"}),
        (
            "train",
            2,
            {"step": 7, "message": "interrupted after step 7; `jaxnn train --resume --out RUN` continues there"},
        ),
        ("train", 3, {"message": "interrupted; `jaxnn train --resume --out RUN` goes on from its newest checkpoint"}),
    ],
)
def test_the_second_signal_may_come_while_it_saves_and_the_third_ends_at_once(
    where: str, signals: int, says: dict[str, object], child: _Child, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, should_stop: Callable[[], bool], **__: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM)[:signals]:
            signal.raise_signal(number)
        assert should_stop()
        raise Interrupted("RUN", step=7)

    monkeypatch.setattr(f"torchref.__main__.{where}", functools.partial(stopped, should_stop=bool))
    code, events = child("train", "--out", "RUN", given=recipe.to_json())
    assert code == 130 and events[-1] == {"event": "error", "code": 130} | says


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_a_run_to_resume(
    number: signal.Signals, code: int, child: _Child, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "torchref", "train", "--out", str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(recipe.replace(epochs=10**6).to_json())
    process.stdin.close()
    while json.loads(process.stdout.readline())["event"] != "epoch":
        pass
    process.send_signal(number)
    events = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.wait(timeout=30) == code
    assert events[-1]["event"] == "error" and "--resume" in events[-1]["message"]
    epochs = len(RunDir(out).read_metrics()) + 1
    got, events = child("train", "--out", out, "--resume", given=recipe.replace(epochs=epochs).to_json())
    assert got == 0 and events[-1]["epoch"] == epochs
