"""Numbers by epoch as a drawing: lines, a band around means, ticks. The lines keep their values, to be read."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxnn.report.runs import Series

SIZE = 1000
"""Units of a drawing's width and height."""
_MARKED = 16  # points of a line that carry a mark, at most

Values = list[tuple[int, float, float]]
"""Epoch, mean over the runs, standard deviation (0 of a single run)."""


@dataclass(frozen=True)
class Line:
    """``number`` of its series, which decides colour and mark; ``train``: whether of the training split.

    Paths in units of ``SIZE`` from the top left: the line, its marks (one run: none if there are many points), the
    band of one standard deviation, each single run.
    """

    label: str
    number: int
    train: bool
    values: list[list[float | None]]
    path: str
    marks: str
    band: str
    single: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """Ticks: where, from 0 to 1 from the low end, and what is written there."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    epochs: tuple[int, int]

    @property
    def spread(self) -> bool:
        return any(line.band for line in self.lines)


def by_epoch(series: Series, name: str) -> Values:
    """A field of the metrics, where it is a finite number; a run that stopped early leaves the mean where it stops."""
    found: dict[int, list[float]] = {}
    for run in series.runs:
        for row in run.rows:
            value = row.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(row["epoch"], []).append(float(value))
    return [
        (epoch, float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
        for epoch, values in sorted(found.items())
    ]


def chart(title: str, series: Sequence[Series], fields: Sequence[str], *, top: float | None = None) -> Chart | None:
    """The ``fields`` of each series by epoch, those of the training split last; None without a number.

    The vertical axis starts at 0 unless ``top`` is given, above which it does not go.
    """
    drawn = [
        (number, each, name, values)
        for name in fields
        for number, each in enumerate(series)
        if (values := by_epoch(each, name))
    ]
    if not drawn:
        return None
    epochs = [epoch for *_, values in drawn for epoch, _, _ in values]
    first, last = min(epochs), max(epochs)
    low = min(mean - spread for *_, values in drawn for _, mean, spread in values)
    high = max(mean + spread for *_, values in drawn for _, mean, spread in values)
    marks = ticks(min(low, 0.0), high) if top is None else ticks(max(low, 0.0), min(high, top))
    low, high = marks[0], marks[-1]

    def x(epoch: float) -> float:
        return 0.5 if first == last else (epoch - first) / (last - first)

    def y(value: float) -> float:
        return (min(max(value, low), high) - low) / (high - low)

    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    whole = sorted({round(epoch) for epoch in ticks(first, last) if first <= epoch <= last}) or [first]
    return Chart(
        title=title,
        lines=tuple(_line(number, each, name, values, x, y) for number, each, name, values in drawn),
        x_ticks=tuple((x(epoch), f"{epoch:,}") for epoch in whole),
        y_ticks=tuple((y(mark), f"{mark:.{digits}f}" if digits < 5 else f"{mark:.2g}") for mark in marks),
        epochs=(first, last),
    )


def _line(
    number: int, series: Series, name: str, values: Values, x: Callable[[float], float], y: Callable[[float], float]
) -> Line:
    def path(points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{SIZE * x(epoch):.1f} {SIZE * (1 - y(value)):.1f}" for epoch, value in points)

    means = [(epoch, mean) for epoch, mean, _ in values]
    step = math.ceil(len(means) / _MARKED)
    upper = [(epoch, mean + spread) for epoch, mean, spread in values]
    lower = [(epoch, mean - spread) for epoch, mean, spread in reversed(values)]
    single = []
    for run in series.runs if series.many else ():
        own = by_epoch(Series(series.name, (run,)), name)
        single += [path([(epoch, value) for epoch, value, _ in own])] if own else []
    return Line(
        label=series.name,
        number=number,
        train=name.startswith("train"),
        values=[[epoch, mean, spread if series.many else None] for epoch, mean, spread in values],
        path=path(means),
        marks="".join(f"{path([point])}h.1" for point in means[::step]),
        band=f"{path(upper + lower)}z" if series.many else "",
        single=tuple(single),
    )


def ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from at or below ``low`` to at or above ``high``; at least two."""
    if not high > low:
        low, high = (low - abs(low) / 2, low + abs(low) / 2) if low else (0.0, 1.0)
    raw = (high - low) / (at_most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
