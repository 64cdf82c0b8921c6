"""Pictures beside each other: examples with their classes, predictions with their probabilities, filters."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from jaxnn.plots.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR, _OTHERS = "#0072B2", "#9aa5ad"


def images(
    title: str,
    pictures: UInt8[np.ndarray, "pictures height width channels"],
    captions: Sequence[str],
    *,
    columns: int = 6,
) -> "Figure":
    """Pictures in rows, each above its caption."""
    from matplotlib.figure import Figure

    columns = min(columns, max(len(pictures), 1))
    rows = max(math.ceil(len(pictures) / columns), 1)
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    size = max(1.35 * columns + 0.3, 3.2), (1.2 + 0.19 * lines) * rows + 0.5
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, picture, caption in zip(panels, pictures, captions, strict=False):
        _picture(panel, picture)
        panel.set_title(plain(caption), fontsize=8, y=-0.1, va="top")
    figure.suptitle(plain(title), fontsize=11)
    return figure


def predictions(
    pictures: UInt8[np.ndarray, "pictures height width channels"],
    names: Sequence[str],
    top: Sequence[Sequence[tuple[str, float]]],
) -> "Figure":
    """Each picture beside bars of its most probable classes; ``top``: class and probability, the largest first."""
    from matplotlib.figure import Figure

    columns = 1 if len(pictures) < 3 else 2
    rows = math.ceil(len(pictures) / columns)
    bars = max(map(len, top))
    height = max(1.5, 0.28 * bars + 0.5)
    figure = Figure(figsize=(4.6 * columns, height * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 1.4] * columns).reshape(-1, 2)
    for pair in panels:
        for panel in pair:
            panel.set_axis_off()
    for (left, right), picture, name, found in zip(panels, pictures, names, top, strict=False):
        _picture(left, picture)
        left.set_title(plain(name if len(name) <= 24 else f"…{name[-23:]}"), fontsize=8)
        right.set_axis_on()
        places = np.arange(len(found))
        values = [probability for _, probability in found]
        right.barh(places, values, color=[_BAR, *[_OTHERS] * (len(found) - 1)], height=0.7)
        for place, value in zip(places, values, strict=True):
            inside = value > 0.75
            right.text(
                value + (-0.02 if inside else 0.02), place, f"{value:.3f}", va="center", fontsize=8,
                ha="right" if inside else "left", color="white" if inside else "black",
            )  # fmt: skip
        right.set_yticks(places, [plain(label) for label, _ in found], fontsize=8)
        right.set(xlim=(0, 1), ylim=(max(len(found), 2) - 0.4, -0.6), xticks=[])
        right.tick_params(length=0)
        right.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def filters(title: str, pictures: Float[np.ndarray, "filters height width *colours"]) -> "Figure":
    """Weights from -1 to 1: of one channel orange below 0 and purple above, white is 0; of three their colours."""
    from matplotlib.figure import Figure

    columns = min(math.ceil(math.sqrt(len(pictures) * 1.6)), 12)
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(0.75 * columns, 0.75 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    shown = None
    for panel, picture in zip(panels, pictures, strict=False):
        if picture.ndim == 3:
            panel.imshow((picture + 1) / 2)
        else:
            shown = panel.imshow(picture, cmap="PuOr", vmin=-1.0, vmax=1.0, interpolation="nearest")
    if shown is not None:
        bar = figure.colorbar(shown, ax=panels.tolist(), shrink=0.6, aspect=25, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["−", "0", "+"])
    figure.suptitle(plain(title), fontsize=11)
    return figure


def _picture(panel: "Axes", picture: np.ndarray) -> None:
    grey = picture.shape[-1] == 1
    panel.imshow(picture[..., 0] if grey else picture, cmap="gray" if grey else None, vmin=0, vmax=255)
