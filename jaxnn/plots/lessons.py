"""The pictures of the lessons, from their numbers alone."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnn.plots.palette import COLOURS, STYLES, plain
from jaxnn.plots.surface import losses, views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Mapping[str, np.ndarray]

_BATCHES = {"single": "single examples", "mini": "mini-batches", "full": "full batch"}


def lesson_figures(name: str, numbers: Numbers) -> dict[str, "Figure"]:
    """The figures of the lesson ``name`` by the names of their files; none for lessons that draw nothing."""
    drawn: dict[str, dict[str, Callable[[Numbers], Figure]]] = {
        "momentum": {"momentum": _momentum},
        "batch-size": {"batch-size": _batch_size},
        "evaluate": {"evaluate": _evaluate},
        "loss-surface": {"loss-surface": views, "loss-surface-losses": losses},
    }
    return {stem: draw(numbers) for stem, draw in drawn.get(name, {}).items()}


def _momentum(numbers: Numbers) -> "Figure":
    """The point that is moved, and both forms of momentum before and after the learning rate falls."""
    figure, (left, right) = _panels(figsize=(10, 4.4))
    start, end = np.array([10, 7.5]), numbers["moved"]
    _arrow(left, np.zeros(2), start - end, COLOURS[0])
    _arrow(left, start, end, COLOURS[1])
    left.annotate("gradient (5, 5)", (3.5, 3.5), (-82, 6), textcoords="offset points", color=COLOURS[0])
    left.annotate("against it", (7.5, 5), (10, -12), textcoords="offset points", color=COLOURS[1])
    left.annotate("A (10, 7.5)", start, (6, 2), textcoords="offset points")
    left.annotate("A' ({:g}, {:g})".format(*end), end, (8, -6), textcoords="offset points")
    left.plot(*np.stack([start, end]).T, "o", color="black")
    left.set(xlim=(0, 13), ylim=(0, 9.5), xlabel="w1", ylabel="w2", aspect="equal", title="a point moved")
    axis = np.linspace(-10, 10, 81)
    w1, w2 = np.meshgrid(axis, axis)
    _contours(right, w1, w2, (2 - w1 - w2) ** 2 + (4 - 3 * w1 - w2) ** 2)
    drop = int(numbers["drop"])
    looks = {
        "optimizer": ("lr 0.01", COLOURS[2], "-"),
        "by_hand_falling": ("v = gamma v - lr g", COLOURS[1], "--"),
        "optimizer_falling": ("w = w - lr b", COLOURS[0], "-"),
    }
    for name, (label, colour, style) in looks.items():
        path = numbers[name]
        right.plot(*path.T, style, color=colour, marker=".", markersize=4, linewidth=1.4, label=label)
    right.plot(*numbers["optimizer"][drop], "o", color="black", label="lr falls to 0.001")
    right.set(xlim=(-10, 6), ylim=(-6, 10), xlabel="w1", ylabel="w2", title="momentum when the learning rate falls")
    right.legend(fontsize=8, framealpha=1)
    return figure


def _batch_size(numbers: Numbers) -> "Figure":
    """The three paths over the loss, and the losses by epoch."""
    figure, (left, right) = _panels(figsize=(10, 4.2))
    _contours(left, *np.meshgrid(numbers["w1"], numbers["w2"]), numbers["around"])
    for number, (name, label) in enumerate(_BATCHES.items()):
        look: Any = {"color": COLOURS[number], "linewidth": (0.8, 1.4, 2.2)[number], "zorder": 3 + number}
        label = f"{label} ({numbers[f'{name}_size']})"
        left.plot(*numbers[f"{name}_path"].T, label=label, **look)
        values = numbers[f"{name}_losses"]
        epochs = np.arange(len(values)) / numbers[f"{name}_steps"]
        right.plot(epochs, values, STYLES[number], label=label, **look)
    start = numbers["full_path"][0]
    left.plot(*start, "o", color="black", zorder=9)
    left.annotate("start", start, (-6, 4), textcoords="offset points", ha="right")
    left.set(xlabel="w1, mean radius", ylabel="w2, mean texture", title="paths")
    right.set(xlabel="epoch", ylabel="loss of all examples", title="losses", yscale="log")
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("{x:g}")
    right.legend(frameon=False)
    plain(right)
    return figure


def _evaluate(numbers: Numbers) -> "Figure":
    """The pictures, true and predicted class above them and the log-probabilities of all classes below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    panels = figure.subplots(2, len(numbers["pictures"]), height_ratios=(1.25, 1), sharey="row")
    bottom = np.floor(numbers["log_probs"].min())
    for number, (above, below) in enumerate(panels.T):
        true, predicted = int(numbers["true"][number]), int(numbers["predicted"][number])
        colours = {predicted: COLOURS[1], true: COLOURS[0]}
        above.imshow(numbers["pictures"][number], cmap="gray", vmin=0, vmax=255)
        above.set_axis_off()
        above.set_title(f"true {true}, predicted {predicted}", color="black" if true == predicted else COLOURS[1])
        heights = numbers["log_probs"][number] - bottom
        below.bar(np.arange(10), heights, bottom=bottom, color=[colours.get(label, "#9aa5ad") for label in range(10)])
        below.set(xticks=range(10), ylim=(bottom, 0), xlabel="class")
        plain(below)
    panels[1, 0].set_ylabel("log-probability")
    return figure


def _panels(*, figsize: tuple[float, float]) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(1, 2)


def _arrow(panel: "Axes", start: np.ndarray, end: np.ndarray, colour: str) -> None:
    panel.annotate("", tuple(end), tuple(start), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})


def _contours(panel: "Axes", w1: np.ndarray, w2: np.ndarray, loss: np.ndarray) -> None:
    """Grey lines, closer where the loss is small."""
    low = max(loss.min(), loss.max() * 1e-4)
    levels = np.geomspace(low * 1.02, loss.max(), 14)
    panel.contour(w1, w2, loss, levels=levels, colors="#999999", linewidths=0.6)
