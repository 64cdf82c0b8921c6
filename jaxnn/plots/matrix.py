"""The confusion matrix as a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from jaxnn.plots.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERED = 30  # classes whose counts can still be read


def confusion(title: str, counts: Int64[np.ndarray, "classes classes"], names: Sequence[str]) -> "Figure":
    """``counts[true][predicted]``, each cell shaded by its share of the true class."""
    from matplotlib.figure import Figure

    size = min(max(4.0, 0.42 * len(names) + 1.8), 14.0)
    figure = Figure(figsize=(size, size), layout="constrained")
    panel = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.imshow(np.sqrt(shares), cmap="Blues", vmin=0.0, vmax=1.0)
    places = np.arange(len(names))
    if len(names) <= _NUMBERED:
        labels = list(map(plain, names))
        panel.set_xticks(places, labels, rotation=90 if max(map(len, labels)) > 3 else 0)
        panel.set_yticks(places, labels)
        for true, predicted in np.ndindex(*counts.shape):
            if counts[true, predicted]:
                colour = "white" if shares[true, predicted] > 0.35 else "black"
                number = f"{counts[true, predicted]}"
                panel.text(predicted, true, number, ha="center", va="center", color=colour, fontsize=8)
    panel.set(xlabel="predicted class", ylabel="true class", title=plain(title))
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    return figure
