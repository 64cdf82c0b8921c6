"""``jaxnn bench`` as users and programs meet it: files, exit codes, sentences, and what is left of an interruption."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jaxnn.cli import main

from . import batch_sizes, run
from .cases import Case
from .settings import Settings

pytest.importorskip("torch")

TINY = ["--rounds", "1", "--seconds", "0.01", "--threads", "1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "mnist-mpl"], "did you mean 'mnist-mlp'?"),
        (["--recipe", "csv"], "no data of its own"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--batch-sizes", "4", "0"], "--batch-sizes must be at least 1"),
        (["--rounds", "0"], "--rounds must be above 0"),
        (["--threads", "0"], "--threads must be above 0"),
        (["--rivals", "tensorflow"], "there is no rival 'tensorflow'"),
        (["--render", "nowhere.md"], "nowhere.md has no <!-- benchmarks -->"),
        (["--out", __file__], "is a file; name a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path)]
    assert main(["bench", *arguments, *out]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_case_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jaxnn", "bench", "--recipe", "breast-cancer", "--rivals", "jaxnn"]
    document = tmp_path / "README.md"
    document.write_text("<!-- benchmarks -->\n<!-- /benchmarks -->\n")
    options = ["--out", str(tmp_path / "out"), "--name", "here", "--render", str(document), "--json", *TINY]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert json.loads((tmp_path / "out" / "here.json").read_text())["table"] == printed
    (row,) = printed["rows"]
    assert set(row["rivals"]) == {"torch", "jaxnn"}
    assert row["flops"] == 11400 and row["xla_threads"] == 1
    for figures in row["rivals"].values():
        assert 0 < figures["baseline_mib"] <= figures["host_mib"]
        assert 0 < figures["share_of_peak"] < 1
    assert "| breast-cancer, batch 5 |" in document.read_text()


def _row(name: str, **ours: Any) -> dict[str, Any]:
    figures = {"examples_per_second": [1.0] * 3, "ratio": [1.0] * 3, "compile_seconds": 0.0}
    return {"name": name, "recipe": name, "batch_size": 4, "rivals": {"torch": figures, "jaxnn": ours or figures}}


def test_an_interruption_leaves_the_cases_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(case: Case, settings: Settings, **_: Any) -> dict[str, Any]:
        if case.recipe == "lenet":
            raise KeyboardInterrupt
        return _row(case.recipe)

    monkeypatch.setattr(run, "measure", measure)
    monkeypatch.setattr(run, "_machine", lambda *_, **__: ({}, {"jax": 1e9}))
    file = tmp_path / "some.json"
    with pytest.raises(KeyboardInterrupt):
        run.table((Case("mnist-mlp", 10), Case("lenet", 1)), Settings(threads=1), file, lambda text: None)
    assert [row["name"] for row in json.loads(file.read_text())["table"]["rows"]] == ["mnist-mlp"]


def test_a_withheld_figure_fails_and_a_rival_that_cannot_run_does_not() -> None:
    assert run.gate_failed({"rows": [_row("a"), _row("b", withheld="loss differs")]})
    assert not run.gate_failed({"rows": [_row("a"), _row("b", failed="no C++ compiler")]})


@pytest.mark.slow
def test_a_sweep_starts_xla_anew_where_its_threads_change() -> None:
    settings = Settings(threads=2, rounds=1, seconds=0.01)
    rows = list(batch_sizes.sweep(("breast-cancer",), (5, 400), settings))
    assert [row["xla_threads"] for row in rows] == [1, 2]
    assert all("ratio" in row["rivals"]["jaxnn"] for row in rows)
