"""The loss-surface lesson's static pictures: the surface from several sides with the ways down, and their losses."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnn.plots.palette import COLOURS, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATHS = {
    "minibatch": ("mini-batches", COLOURS[6]),
    "gd": ("gradient descent", COLOURS[0]),
    "momentum": ("momentum", COLOURS[1]),
}
_SIDES = {"from above": (80, -90), "along the valley": (28, -62), "across the valley": (22, 25), "low": (6, -120)}


def views(numbers: Mapping[str, np.ndarray]) -> "Figure":
    """The surface from four sides. The height is the root of the loss: the valley's floor would be flat otherwise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    w1, w2 = np.meshgrid(numbers["axis"], numbers["axis"])
    for number, (title, (elevation, azimuth)) in enumerate(_SIDES.items(), start=1):
        panel: Any = figure.add_subplot(2, 2, number, projection="3d", computed_zorder=False)
        panel.plot_surface(w1, w2, np.sqrt(numbers["surface"]), cmap="viridis", alpha=0.75, rcount=40, ccount=40)
        for name, (label, colour) in PATHS.items():
            path, height = numbers[f"{name}_path"], np.sqrt(numbers[f"{name}_losses"])
            panel.plot(*path.T, height, color=colour, linewidth=1.6, marker=".", markersize=3, label=label, zorder=5)
        panel.plot(*numbers["minimum"][:, None], [0], "*", color="white", markeredgecolor="black", ms=11, zorder=6)
        panel.view_init(elev=elevation, azim=azimuth)
        panel.set(xlabel="w1", ylabel="w2", zlabel="" if elevation > 70 else "root of the loss", title=title)
        panel.set(xticks=(-10, 0, 10), yticks=(-10, 0, 10), zticks=() if elevation > 70 else (0, 20, 40))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def losses(numbers: Mapping[str, np.ndarray]) -> "Figure":
    """The losses of the three ways by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    panel = figure.subplots()
    for style, (name, (label, colour)) in zip((":", "-", "--"), PATHS.items(), strict=False):
        panel.plot(numbers[f"{name}_losses"], style, color=colour, linewidth=1.6, label=label)
    panel.set(xlabel="step", ylabel="loss", yscale="log")
    panel.legend(frameon=False)
    plain(panel)
    return figure
