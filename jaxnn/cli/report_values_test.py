"""What page and pictures of a report say is what metrics and arrays say: hand-made runs, values read back."""

import base64
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from jaxnn import recipes, report
from jaxnn.cli import report_plots
from jaxnn.report import Evidence, Predictions, Series, chart, pixels, words
from jaxnn.report.filters import Filters
from jaxnn.run_dir import RunDir

CLASSES = ["cat", '<script>alert("dog")</script>', "a & 'b'"]
LABELS = np.array([0, 0, 0, 1, 1, 2, 2])
SURE = np.array([0.9, 0.6, 0.8, 0.7, 0.95, 0.5, 0.99])
PREDICTED = np.array([0, 1, 1, 1, 2, 0, 2])
CONFUSION = [[1, 2, 0], [0, 1, 1], [1, 0, 1]]
WRONG = [4, 2, 1, 5]  # the most confident first

# Epochs 1 and 2 of two seeds; no number twice.
TEST = {"loss": [(0.50, 0.70), (0.30, 0.36)], "accuracy": [(0.41, 0.47), (0.62, 0.70)]}
TRAIN = {"loss": [(0.90, 0.98), (0.20, 0.28)], "accuracy": [(0.21, 0.25), (0.80, 0.82)]}


class Made(NamedTuple):
    series: list[Series]
    evidence: dict[str, Evidence]
    page: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("runs") / "<i>runs"
    for seed in (0, 1):
        run = RunDir(folder / f"seed-{seed}")
        run.create(recipes.get("mnist-mlp").replace(seed=seed, epochs=2, dataset="/data/<u>set"), "jax")
        data = {
            "name": "<u>set",
            "classes": CLASSES,
            "input_shape": [2, 2, 1],
            "train_examples": 10,
            "test_examples": 7,
        }
        run.environment_file.write_text(json.dumps({"data": data | {"fingerprint": None}, "device": "<b>"}))
        run.write_metrics([row(epoch, seed) for epoch in (0, 1)])
    scores = np.full((7, 3), 0.0)
    scores[:] = np.log((1 - SURE[:, None]) / 2)
    scores[np.arange(7), PREDICTED] = np.log(SURE)
    predictions = Predictions.of(scores, LABELS)
    inputs = np.repeat(10 * np.arange(7, dtype=np.uint8), 4).reshape(7, 2, 2, 1)  # example k has the grey 10 k
    filters = Filters(np.linspace(-1, 1, 8).reshape(2, 2, 2), "0.weight", 2)
    series = report.read([folder])
    evidence = {series[0].name: Evidence(predictions, filters, inputs)}
    return Made(series, evidence, report.render(series, evidence))


def row(epoch: int, seed: int) -> dict[str, Any]:
    measured = {f"{part}_{name}": found[epoch][seed] for part, of in (("test", TEST), ("train", TRAIN))
                for name, found in of.items()}  # fmt: skip
    speed = {"seconds": 1.0, "examples_per_second": 10.0, "learning_rate": 0.1 / (epoch + 1)}
    shares = [[1 / 3, 0.5, 0.5], [1.0, 0.5, np.nan]][seed]
    return {"epoch": epoch + 1, "step": epoch + 1, **measured, **speed, "test_class_accuracy": shares}


def cells(page: str, table: str) -> list[list[str]]:
    """The text of the body of the table of that class."""
    body = re.search(rf'<table class="{table}[^"]*">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert body is not None
    rows = re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL)
    return [[text(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup)).strip()


def confusion(page: str) -> object:
    found = cells(page, "confusion")
    assert [row[0] for row in found] == CLASSES
    return [[int(cell) for cell in row[1:]] for row in found]


def by_class(page: str) -> object:
    return [[cell for cell in row if cell] for row in cells(page, "classes")]


def mistakes(page: str) -> object:
    found = re.findall(r'<li><img src="data:image/png;base64,(.*?)" alt.*?<b>(.*?)</b>(.*?)<br>is (.*?)</span>', page)
    return [
        (int(np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))[0, 0]) // 10, *map(text, rest))
        for picture, *rest in found
    ]


def curves(page: str) -> object:
    """Title, split and (epoch, mean, deviation) of each line."""
    found = []
    for title, figure in re.findall(r"<h3>(.*?)</h3>(.*?)</figure>", page, re.DOTALL)[:2]:
        for part, values in re.findall(r"data-part=\"(.*?)\" data-values='(.*?)'", figure):
            points = json.loads(html.unescape(values))
            found.append((title, part, [[round(number, 12) for number in point] for point in points]))
    return sorted(found)


def expected_curves() -> object:
    return sorted(
        (name.capitalize(), part, [[epoch, round(float(np.mean(v)), 12), round(float(np.std(v, ddof=1)), 12)]
                                   for epoch, v in enumerate(found, 1)])
        for part, of in (("test", TEST), ("train", TRAIN)) for name, found in of.items()
    )  # fmt: skip


READ: dict[str, tuple[Callable[[str], object], object]] = {
    "confusion: rows are the true class": (confusion, CONFUSION),
    "classes": (
        by_class,
        [
            [CLASSES[0], "3", "0.6667 ± 0.4714", f"{CLASSES[1]} 2 times"],
            [CLASSES[1], "2", "0.5000 ± 0.0000", f"{CLASSES[2]} once"],
            [CLASSES[2], "2", "0.5000 ± 0.0000", f"{CLASSES[0]} once"],
        ],
    ),
    "mistakes: picture, predicted, how sure, true": (
        mistakes,
        [(k, CLASSES[PREDICTED[k]], f"{SURE[k]:.3f}", CLASSES[LABELS[k]]) for k in WRONG],
    ),
    "curves: mean and deviation over seeds": (curves, expected_curves()),
    "no markup of a name": (lambda page: [page.count("<script>"), re.findall("<[iu]>", page)], [1, []]),
}


@pytest.mark.parametrize("name", READ)
def test_the_page_says(name: str, made: Made) -> None:
    read, expected = READ[name]
    assert read(made.page) == expected


def test_the_band_is_one_standard_deviation_wide(made: Made) -> None:
    drawn = chart.chart("Loss", made.series, ("test_loss", "train_loss"))
    assert drawn is not None
    low, high = (float(label) for _, label in (drawn.y_ticks[0], drawn.y_ticks[-1]))
    for line, values in zip(drawn.lines, (TEST["loss"], TRAIN["loss"]), strict=True):
        heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", line.band)]
        found = [low + (1 - height / chart.SIZE) * (high - low) for height in heights]
        mean, spread = np.mean(values, axis=1), np.std(values, axis=1, ddof=1)
        assert found == pytest.approx([*(mean + spread), *(mean - spread)[::-1]], abs=2e-4), line.train


def test_weights_below_0_are_orange_and_above_it_blue() -> None:
    [[below, zero, above]] = pixels.signed(np.array([[-1.0, 0.0, 0.5]])).astype(int)
    assert below[0] > below[2] + 100 and above[2] > above[0] + 50 and len(set(zero)) == 1


def test_the_pictures_say_the_same(made: Made) -> None:
    figures = dict(report_plots._figures(made.series, made.evidence, several=False))
    assert list(figures) == ["curves", "learning-rate", "confusion", "mistakes", "first-layer"]
    shown = [panel for panel in figures["mistakes"].axes if panel.images]
    assert [int(np.asarray(panel.images[0].get_array())[0, 0]) // 10 for panel in shown] == WRONG
    assert [panel.get_title() for panel in shown] == [
        f"{CLASSES[PREDICTED[k]]} {SURE[k]:.3f}\nis {CLASSES[LABELS[k]]}" for k in WRONG
    ]
    assert "accuracy 0.4286" in figures["confusion"].axes[0].get_title()


def test_no_file_name_becomes_markup(made: Made, tmp_path: Path) -> None:
    """Of a series among others, where names are written everywhere."""
    other = RunDir(tmp_path / "<script>x")
    other.create(recipes.get("mnist-mlp").replace(epochs=1), "torch")
    series = [*made.series, *report.read([other.path])]
    why = "Not shown: <script>y."
    evidence = made.evidence | {series[1].name: Evidence(why, "<script>z")}
    page = report.render(series, evidence)
    assert "3 runs compared" in page  # two seeds, and another
    assert page.count("<script>") == 1 and "&lt;script&gt;x" in page and "&lt;script&gt;y" in page


def test_an_environment_without_what_has_no_place_there() -> None:
    data = {"name": "t", "test_examples": 3, "classes": ["a", "b"], "scaling": {"mean": [0.5], "std": [2.0]}}
    shown = words.surroundings({"python": "3.12.1", "mesh": None, "data": data})
    assert shown == {"machine": {"python": "3.12.1"}, "data": {"name": "t", "test examples": "3"}}
