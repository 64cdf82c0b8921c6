"""Numbers by epoch as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnn.plots import palette
from jaxnn.plots.palette import COLOURS, STYLES
from jaxnn.plots.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "s", "^", "D", "v")


class Curve(NamedTuple):
    """The rows of metrics of a run, none if it stopped before, and the swept value that it has (None: no sweep)."""

    value: str | None
    rows: Sequence[dict[str, Any]]


def training_curves(title: str, curves: Sequence[Curve], *, swept: str | None = None) -> "Figure":
    """Test accuracy and train loss by epoch: each run thin; the mean of the runs of a value in a band of one
    standard deviation. ``swept``: the field whose values the colours are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    values = list(dict.fromkeys(curve.value for curve in curves))
    for panel, (name, label) in zip(
        axes, {"test_accuracy": "test accuracy", "train_loss": "train loss"}.items(), strict=True
    ):
        for number, value in enumerate(values):
            look = {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
            }
            _draw(panel, [curve.rows for curve in curves if curve.value == value], name, value, look)
        _tidy(panel, label)
    figure.suptitle(f"{title}, {len(curves)} runs")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, title=swept, loc="outside right center", frameon=False)
    return figure


def loss_and_accuracy(curves: Sequence[Curve]) -> "Figure":
    """Loss and accuracy by epoch, of the test split (lines) and of the training split (dots); the ``value`` of a curve
    is its name, and curves of one name are its mean and a band of one standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, name in zip(panels, ("loss", "accuracy"), strict=True):
        _by_name(panel, curves, f"test_{name}", styles=("-",), marks=_MARKS)
        _by_name(panel, curves, f"train_{name}", styles=(":",), marks=("",), legend=False)
        _tidy(panel, name)
    _legend(figure, panels[0], title="lines: test, dots: train")
    return figure


def learning_rate(curves: Sequence[Curve]) -> "Figure":
    """The learning rate at the end of each epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    panel = figure.subplots()
    _by_name(panel, curves, "learning_rate", styles=STYLES, marks=_MARKS)
    _tidy(panel, "learning rate")
    panel.set_ylim(bottom=0)
    _legend(figure, panel)
    return figure


def _by_name(
    panel: "Axes",
    curves: Sequence[Curve],
    name: str,
    *,
    styles: Sequence[str],
    marks: Sequence[str],
    legend: bool = True,
) -> None:
    for number, value in enumerate(dict.fromkeys(curve.value for curve in curves)):
        found: dict[int, list[float]] = {}
        for row in (row for curve in curves if curve.value == value for row in curve.rows):
            if np.isfinite(row.get(name, np.nan)):
                found.setdefault(row["epoch"], []).append(row[name])
        epochs = sorted(found)
        mean = np.array([np.mean(found[epoch]) for epoch in epochs])
        spread = np.array([np.std(found[epoch], ddof=1) if len(found[epoch]) > 1 else 0.0 for epoch in epochs])
        colour = COLOURS[number % len(COLOURS)]
        panel.plot(
            epochs, mean, color=colour, linestyle=styles[number % len(styles)], linewidth=1.8,
            marker=marks[number % len(marks)] or None, markersize=4, markevery=max(1, len(epochs) // 12),
            label=plain(value) if legend and value is not None else None,
        )  # fmt: skip
        if spread.any():
            panel.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.18, lw=0)


def _tidy(panel: "Axes", label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set(xlabel="epoch", ylabel=label)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    palette.plain(panel)


def _legend(figure: "Figure", panel: "Axes", title: str | None = None) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, title=title, loc="outside lower center", ncols=4, frameon=False)


def _draw(
    panel: "Axes", runs: list[Sequence[dict[str, Any]]], name: str, value: str | None, look: dict[str, str]
) -> None:
    """The runs of one value, or of none, in one colour."""
    several = len(runs) > 1
    if value is not None and not any(runs):
        value += " (stopped)"
    marker = {"marker": "o", "markersize": 3} if max(map(len, runs)) == 1 else {}
    for rows in runs:
        thin: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.45} if several else {"linewidth": 1.8, "label": value}
        panel.plot([row["epoch"] for row in rows], [row[name] for row in rows], **thin, **look, **marker)
    # A run that stopped early leaves the mean where it stops.
    epochs = sorted({row["epoch"] for rows in runs for row in rows})
    if several:
        found = [[row[name] for rows in runs for row in rows if row["epoch"] == epoch] for epoch in epochs]
        mean = np.array([np.mean(column) for column in found])
        spread = np.array([np.std(column, ddof=1) if len(column) > 1 else 0.0 for column in found])
        panel.plot(epochs, mean, linewidth=1.8, label=value or "mean", **look, **marker)
        band = None if value else "one standard\ndeviation"
        panel.fill_between(epochs, mean - spread, mean + spread, color=look["color"], alpha=0.18, lw=0, label=band)
