"""``jaxnn report``: pages of runs that are whole, unfinished, hostile or none, and values under the pointer."""

import json
import re
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn import data
from jaxnn.cli import main
from jaxnn.page import browser
from jaxnn.report import Predictions, chart
from jaxnn.run_dir import RunDir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "mnist-mlp", "--dataset", "digits", "--epochs", "2", "--out", str(folder), "--json"]) == 0
    return folder


def test_the_report_agrees_with_the_metrics_and_draws_plots(run: Path, tmp_path: Path) -> None:
    command = ["report", str(run), "--out", str(tmp_path / "r.html"), "--plots", str(tmp_path / "plots")]
    assert main(command) == 0
    page, end = (tmp_path / "r.html").read_text(), RunDir(run).read_metrics()[-1]
    assert f"The newest checkpoint on 360 test examples: accuracy {end['test_accuracy']:.4f}." in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    drawn = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"curves", "learning-rate", "confusion", "mistakes", "first-layer"}
    assert main(command) == 2 and main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize("rows", [0, 1])
def test_an_unfinished_run_says_so_and_names_are_escaped(run: Path, tmp_path: Path, rows: int) -> None:
    directory = RunDir(tmp_path / "<script>alert(1)<b>")
    directory.create(*RunDir(run).read_recipe())
    record = json.loads(RunDir(run).environment_file.read_text())
    record["data"]["classes"][3] = "<script>alert(2)</script>"
    directory.environment_file.write_text(json.dumps(record))
    directory.write_metrics(RunDir(run).read_metrics()[:rows])
    assert main(["report", str(directory.path), str(run)]) == 0
    page = (directory.path / "report.html").read_text()
    assert "is unfinished after" in page and "has no checkpoint yet" in page
    assert page.count("<script>") == 1 and "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("works", [True, False])
def test_open_shows_the_page_or_says_that_nothing_does(
    works: bool, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page, seen, fake = tmp_path / "a b.html", tmp_path / "seen", tmp_path / "browser"
    fake.write_text(f'#!/bin/sh\necho "$1" > "{seen}"\nexit {0 if works else 1}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{fake} %s")
    monkeypatch.setenv("PATH", "/bin" if works else "")  # no other browser
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # read BROWSER again
    monkeypatch.setattr(webbrowser, "_browsers", {})
    capfd.readouterr()
    assert main(["report", str(run), "--out", str(page), "--open"]) == 0
    captured = capfd.readouterr()
    assert seen.read_text().strip() == page.as_uri()
    assert (f"opened {page} in the browser\n" in captured.out) == works
    assert (f"note: no browser shows {page}; open it yourself\n" in captured.err) != works


def test_mistakes_are_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistakes = {"`jaxnn report RUN`": [], "has no recipe.json": [str(tmp_path)]}
    mistakes["there is no folder"] = [str(run), "--out", str(tmp_path / "gone" / "r.html")]
    capsys.readouterr()
    for says, arguments in mistakes.items():
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1


@pytest.mark.skipif(browser.PROGRAM is None, reason="there is no chromium or chrome on this machine")
def test_a_curve_tells_its_values(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0
    script = """
    const area = document.querySelector(".area"), tip = area.querySelector(".tip");
    found.before = tip.hidden; hover(area, 0.99, 0.5); found.last = tip.value;
    found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    """
    found = browser.run((tmp_path / "r.html").read_text(), script, tmp_path, width=500)
    end = RunDir(run).read_metrics()[-1]
    assert (found["problems"], found["before"], found["wide"]) == ([], True, 0)
    assert found["last"] == f"epoch 2\ntest: {end['test_loss']:.4f}\ntrain: {end['train_loss']:.4f}"


def test_a_prediction_is_drawn(run: Path, tmp_path: Path) -> None:
    Image.fromarray(data.load("digits").test.inputs[0, ..., 0]).save(tmp_path / "digit.png")
    assert main(["predict", str(run), str(tmp_path / "digit.png"), "--plot", str(tmp_path / "plot.png")]) == 0
    with Image.open(tmp_path / "plot.png") as drawn:
        assert drawn.width > drawn.height > 100


def test_the_most_confident_mistake_comes_first() -> None:
    found = Predictions.of(np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]]), np.array([1, 0, 0]))
    assert found.mistakes(5).tolist() == [1, 0] and found.confusion.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.38), (0.55, 1.0), (0.3, 0.3), (0.0, 0.0), (1, 15)])
def test_ticks_enclose_their_range(low: float, high: float) -> None:
    marks = chart.ticks(low, high)
    assert 2 <= len(marks) <= 8 and marks[0] <= low + 1e-12 and marks[-1] >= high - 1e-12
