"""`jaxnn lesson`: its list, its files, its JSON, and one sentence for each mistake."""

import json
from pathlib import Path

import pytest

from jaxnn import course
from jaxnn.cli import main

MISTAKES = {
    "unknown name": (["momentm"], "did you mean 'momentum'?"),
    "negative seed": (["backprop", "--seed", "-1"], "--seed must be from 0"),
    "out is a file": (["backprop", "--out", "file"], "file is a file; name a folder"),
    "no display": (["momentum", "--show"], "no display"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "file").touch()
    argv, expected = MISTAKES[name]
    assert main(["lesson", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and expected in captured.err


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(course.LESSONS)


def test_the_surface_is_written_where_out_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "pictures"
    assert main(["lesson", "loss-surface", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    files = sorted(out.iterdir())
    assert [path.name for path in files] == ["loss-surface-losses.png", "loss-surface.html", "loss-surface.png"]
    assert all(f"wrote {path}" in printed for path in files)
    assert "minimum at [1.000, 1.000]" in printed


@pytest.mark.torch
def test_pytorch_s_lesson_comes_from_its_own_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson", "autograd", "--framework", "torch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numbers"]["slope"] == 2
    assert "a second time" in found["words"]["error"]
