"""Figures show the arrays they are given: values read back from what is drawn."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from jaxnn import plots
from jaxnn.plots import Curve

NAMES = ("test_loss", "train_loss", "test_accuracy", "train_accuracy")
RUNS = [  # two seeds, two epochs, four metrics
    [[0.50, 0.90, 0.41, 0.21], [0.30, 0.20, 0.62, 0.80]],
    [[0.70, 0.98, 0.47, 0.25], [0.36, 0.28, 0.70, 0.82]],
]
CURVES = [
    Curve("a", [{"epoch": epoch, **dict(zip(NAMES, row, strict=True))} for epoch, row in enumerate(run, 1)])
    for run in RUNS
]
MEAN, SPREAD = np.mean(RUNS, axis=0).T, np.std(RUNS, axis=0, ddof=1).T  # (metrics, epochs)


def bands(panel: Axes) -> list[np.ndarray]:
    """(upper, lower) by epoch of each band."""
    found = []
    for each in panel.collections:
        corners = np.asarray(cast("PolyCollection", each).get_paths()[0].vertices)
        found.append(np.array([[f(corners[corners[:, 0] == x, 1]) for x in (1, 2)] for f in (np.max, np.min)]))
    return found


def lines(panel: Axes, style: str) -> list[Sequence[float]]:
    return [cast("Any", line.get_ydata()) for line in panel.get_lines() if line.get_linestyle() == style]


def test_loss_and_accuracy() -> None:
    for panel, name, first in zip(plots.loss_and_accuracy(CURVES).axes, ("loss", "accuracy"), (0, 2), strict=True):
        assert panel.get_ylabel() == name
        np.testing.assert_allclose(lines(panel, "-"), [MEAN[first]], err_msg=f"test {name}")
        np.testing.assert_allclose(lines(panel, ":"), [MEAN[first + 1]], err_msg=f"train {name}")
        for band, at in zip(bands(panel), (first, first + 1), strict=True):
            np.testing.assert_allclose(band, [MEAN[at] + SPREAD[at], MEAN[at] - SPREAD[at]], err_msg=NAMES[at])


def test_training_curves() -> None:
    for panel, at in zip(plots.training_curves("t", CURVES).axes, (2, 1), strict=True):
        assert panel.get_ylabel() == NAMES[at].replace("_", " ")
        drawn = lines(panel, "-")
        np.testing.assert_allclose(drawn, [*np.array(RUNS)[:, :, at], MEAN[at]])
        np.testing.assert_allclose(bands(panel), [[MEAN[at] + SPREAD[at], MEAN[at] - SPREAD[at]]])


def test_learning_rate() -> None:
    rows = [{"epoch": 1, "learning_rate": 0.1}, {"epoch": 2, "learning_rate": 0.05}]
    [panel] = plots.learning_rate([Curve(None, rows)]).axes
    assert [list(ys) for ys in lines(panel, "-")] == [[0.1, 0.05]]


def test_confusion_has_true_classes_down() -> None:
    counts = np.array([[5, 2, 0], [0, 4, 3], [1, 0, 6]])
    [panel] = plots.confusion("t", counts, ("a", "b", "$c$")).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("predicted class", "true class")
    for axis in (panel.get_xticklabels(), panel.get_yticklabels()):
        assert [label.get_text() for label in axis] == ["a", "b", r"\$c\$"]
    found = np.zeros_like(counts)
    for label in panel.texts:
        column, row = label.get_position()
        found[int(row), int(column)] = int(label.get_text())
    assert found.tolist() == counts.tolist()
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(panel.images[0].get_array()) ** 2, shares)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_has_its_caption(channels: int) -> None:
    pictures = np.arange(5 * 4 * channels, dtype=np.uint8).reshape(5, 2, 2, channels)
    panels = plots.images("t", pictures, list("abcde"), columns=3).axes
    assert len(panels) == 6 and not panels[5].images
    for panel, picture, caption in zip(panels, pictures, "abcde", strict=False):
        assert panel.get_title() == caption
        np.testing.assert_array_equal(np.squeeze(np.asarray(panel.images[0].get_array())), np.squeeze(picture))
        assert panel.images[0].get_clim() == (0, 255)


def test_predictions_beside_their_picture() -> None:
    pictures = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    top = [[("x", 0.7), ("y", 0.2)], [("z", 0.9), ("x", 0.05)]]
    axes = plots.predictions(pictures, ["one.png", "two.png"], top).axes
    for left, right, picture, name, found in zip(axes[::2], axes[1::2], pictures, ("one", "two"), top, strict=True):
        assert left.get_title() == f"{name}.png"
        np.testing.assert_array_equal(left.images[0].get_array(), picture[..., 0])
        labels = [label.get_text() for label in right.get_yticklabels()]
        bars = [cast("Any", bar).get_width() for bar in right.patches]
        assert list(zip(labels, bars, strict=True)) == found
        assert right.yaxis_inverted()  # the most probable above


def test_filters_keep_their_sign() -> None:
    pictures = np.linspace(-1, 1, 12).reshape(3, 2, 2)
    panels = [panel for panel in plots.filters("t", pictures).axes if panel.images]
    for panel, picture in zip(panels, pictures, strict=False):
        np.testing.assert_array_equal(panel.images[0].get_array(), picture)
        assert panel.images[0].get_clim() == (-1, 1)
