"""The picture of a sweep over batch sizes."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's colours, which all kinds of colour vision tell apart; the markers say the same without colour.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))


def figure(section: dict[str, Any]) -> Figure:
    """Examples a second of jaxnn (solid) and PyTorch eager (dashed), and their ratio; bands are quartiles."""
    rows = section["rows"]
    drawing = Figure(figsize=(11, 4.6), layout="constrained", dpi=120)
    rates, ratios = drawing.subplots(1, 2)
    names = list(dict.fromkeys(row["recipe"] for row in rows))
    for name, (colour, marker) in zip(names, _STYLES * len(names), strict=False):
        own = [row for row in rows if row["recipe"] == name]
        for rival, line in (("jaxnn", "-"), ("torch", "--")):
            sizes, quartiles = _series(own, rival, "examples_per_second")
            label = name if rival == "jaxnn" else None
            rates.plot(sizes, [q[1] for q in quartiles], line, color=colour, marker=marker, markersize=4, label=label)
        sizes, quartiles = _series(own, "jaxnn", "ratio")
        low, middle, high = (list(values) for values in zip(*quartiles, strict=True)) if quartiles else ([], [], [])
        ratios.plot(sizes, middle, color=colour, marker=marker, markersize=4, label=name)
        ratios.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
    ratios.axhline(1, color="0.3", linewidth=1, linestyle=":")
    sizes = sorted({row["batch_size"] for row in rows})
    for axes in (rates, ratios):
        axes.set(xscale="log", yscale="log", xlabel="batch size")
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.tick_params(axis="x", labelrotation=45)
        axes.grid(alpha=0.3)
    ratios.yaxis.set_major_locator(FixedLocator([0.5, 1, 1.5, 2, 3, 5, 10, 20, 50]))
    ratios.yaxis.set_minor_locator(NullLocator())
    ratios.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    rates.set_title("examples a second: jaxnn solid, PyTorch eager dashed")
    ratios.set_title("jaxnn against PyTorch eager, quartiles shaded")
    ratios.legend(frameon=False)
    return drawing


def _series(rows: list[dict[str, Any]], rival: str, figure: str) -> tuple[list[int], list[list[float]]]:
    """Batch sizes, and the quartiles at each; what was withheld is left out."""
    found = [(row["batch_size"], row["rivals"][rival][figure]) for row in rows if figure in row["rivals"][rival]]
    return [size for size, _ in found], [quartiles for _, quartiles in found]
