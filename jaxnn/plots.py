"""Arrays -> figures, without a display; matplotlib is loaded when the first figure is drawn."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; its yellow is too light for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", ":", "-.")


class Curve(NamedTuple):
    """The rows of metrics of a run, none if it stopped before, and the swept value that it has (None: no sweep)."""

    value: str | None
    rows: Sequence[dict[str, Any]]


def training_curves(title: str, curves: Sequence[Curve], *, swept: str | None = None) -> "Figure":
    """Test accuracy and train loss by epoch: each run thin; the mean of the runs of a value in a band of one
    standard deviation. ``swept``: the field whose values the colours are."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    values = list(dict.fromkeys(curve.value for curve in curves))
    for panel, (name, label) in zip(
        axes, {"test_accuracy": "test accuracy", "train_loss": "train loss"}.items(), strict=True
    ):
        for number, value in enumerate(values):
            look = {
                "color": _COLOURS[number % len(_COLOURS)],
                "linestyle": _STYLES[number // len(_COLOURS) % len(_STYLES)],
            }
            _draw(panel, [curve.rows for curve in curves if curve.value == value], name, value, look)
        panel.set(xlabel="epoch", ylabel=label)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}, {len(curves)} runs")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, title=swept, loc="outside right center", frameon=False)
    return figure


def png(figure: "Figure") -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=150)
    return target.getvalue()


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
