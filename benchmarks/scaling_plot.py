"""The picture of a projection."""

import textwrap
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from jaxnn.plots.palette import COLOURS, plain

from .projection import DEVICES

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHOWN = ("H100 SXM, float32", "TPU v5e, bfloat16")
_WIDTH = 122  # characters of a line of the caption


def figure(curves: list[dict[str, Any]], assumptions: str, *, batches: dict[str, str]) -> Figure:
    """Weak and strong scaling (columns) on two accelerators (rows); bands from no overlap to a full one.

    ``curves``: rows of ``projection.rows``. ``batches``: of each way of scaling, in words.
    """
    drawing = Figure(figsize=(10, 8.6), layout="constrained", dpi=110)
    panels, caption = (each[0] for each in drawing.subfigures(2, 1, height_ratios=(7.2, 1.4), squeeze=False))
    names = list(dict.fromkeys(row["recipe"] for row in curves))
    for line, accelerator in zip(panels.subplots(2, 2, sharex=True, sharey=True), SHOWN, strict=True):
        for axes, (way, batch) in zip(line, batches.items(), strict=True):
            for number, name in enumerate(names):
                own = [row for row in curves if (row["recipe"], row["accelerator"]) == (name, accelerator)]
                own = [row for row in own if row["scaling"] == way]
                low, high = zip(*(row["efficiency"] for row in own), strict=True)
                style = {"color": COLOURS[number], "marker": _MARKERS[number], "markersize": 4}
                at = [row["devices"] for row in own]
                axes.plot(at, high, label=name, **style)
                axes.plot(at, low, linestyle=":", **style)
                axes.fill_between(at, low, high, color=COLOURS[number], alpha=0.18, linewidth=0)
            axes.set(xscale="log", ylim=(0, 1.03), title=f"{accelerator}: {way} scaling, {batch}")
            axes.title.set_fontsize(10)
            axes.xaxis.set_major_locator(FixedLocator((1, *DEVICES)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            plain(axes)
        line[0].set_ylabel("efficiency against one device")
    for axes in panels.axes[-2:]:
        axes.set_xlabel("devices")
    panels.legend(*panels.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)
    wrapped = [textwrap.fill(text, _WIDTH, subsequent_indent="   ") for text in assumptions.splitlines()]
    heading = (
        "A projection, not a measurement. Solid: gradients wholly overlapped with computation; dotted: not at all."
    )
    caption.text(0.02, 0.97, "\n".join([heading, *wrapped]), va="top", fontsize=9.5)
    return drawing
