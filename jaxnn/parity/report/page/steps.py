"""Errors over the steps of a run: one line for each tensor, small enough for a page, with nothing of note left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.report import Entry, Level, Report, summary
from jaxnn.parity.report.page import axis
from jaxnn.parity.report.page.axis import Axis

_POINTS = 200  # of a line: one for every few pixels
_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Line:
    """A tensor's errors: ``path``, ``band`` (its tolerance) and ``area`` (beyond it) in the plot's units.

    ``leaves``: the first step beyond tolerance, ``exit`` its place in shares of the plot. ``apart``: whether it is
    beyond the tolerance of the worst line, which the plot shows, and yet no failure.
    """

    entry: Entry
    path: str
    band: str
    area: str
    largest: float
    largest_at: int
    leaves: int | None
    exit: tuple[float, float]
    apart: bool


@dataclass(frozen=True, kw_only=True)
class StepPlot:
    """One level's plot. ``lines``: the worst first, which is bold. ``leaving``: which leaves its tolerance first.

    ``banded``: whether the tolerance of the worst changes from step to step. ``left_out``: how many are not drawn.
    """

    level: Level
    steps: int
    axis: Axis
    lines: list[Line]
    left_out: int
    leaving: Line | None
    banded: bool

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Steps to label, and where they stand from the left."""
        rough = self.steps / 5
        power = 10 ** math.floor(math.log10(max(rough, 1)))
        stride = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
        marks = [step for step in range(stride, self.steps + 1, stride)] if self.steps > stride else [self.steps]
        return [((step - 0.5) / self.steps, f"{step:,}") for step in ([] if 1 in marks else [1]) + marks]


def plots(report: Report) -> list[StepPlot]:
    """A plot for each level that has errors of single steps."""
    found = []
    for level in summary.LEVELS:
        entries = [entry for entry in report.entries if entry.level == level and entry.errors]
        if entries:
            found.append(_plot(level, sorted(entries, key=_rank, reverse=True)))
    return found


def _plot(level: Level, entries: Sequence[Entry]) -> StepPlot:
    drawn = entries[:_LINES]
    scale = axis.around(
        value for entry in drawn for series in (entry.errors, summary.step_tolerances(entry)) for value in series
    )
    lines = [_line(entry, scale, shown=summary.step_tolerances(drawn[0])) for entry in drawn]
    leaving = [line for line in lines if line.leaves is not None and line.entry.failed]
    return StepPlot(
        level=level,
        steps=max(len(entry.errors) for entry in drawn),
        axis=scale,
        lines=lines,
        left_out=len(entries) - len(drawn),
        leaving=min(leaving, key=lambda line: line.leaves or 0, default=None),
        banded=len(set(drawn[0].tolerances)) > 1,
    )


def _rank(entry: Entry) -> tuple[bool, float]:
    return summary.rank(summary.peak(entry))


def _line(entry: Entry, scale: Axis, *, shown: Sequence[float]) -> Line:
    errors, tolerances = np.asarray(entry.errors), np.asarray(summary.step_tolerances(entry))
    beyond = np.flatnonzero(~(errors <= tolerances))
    leaves = int(beyond[0]) if beyond.size else None
    sizes = np.where(np.isnan(errors), np.inf, errors)
    largest = int(np.argmax(sizes))
    kept = _kept(sizes, always=[0, len(errors) - 1, *([] if leaves is None else [leaves])])
    flat = len(np.unique(tolerances)) == 1
    band = _path([0, len(errors) - 1] if flat else kept, tolerances, scale)
    exit = (0.0, 0.0) if leaves is None else ((leaves + 0.5) / len(errors), scale.place(errors[leaves]) / scale.size)
    return Line(
        entry=entry,
        path=_path(kept, errors, scale),
        band=band,
        area=f"{band}V0H1z",
        largest=float(errors[largest]),
        largest_at=largest + 1,
        leaves=None if leaves is None else leaves + 1,
        exit=exit,
        apart=not entry.failed and any(found > limit for found, limit in zip(entry.errors, shown, strict=False)),
    )


def _kept(sizes: np.ndarray, *, always: Sequence[int]) -> list[int]:
    """The indices to draw: of each stretch of steps that with the largest error, so that no peak is lost."""
    edges = np.unique(np.linspace(0, len(sizes), min(_POINTS, len(sizes)) + 1).astype(int))
    peaks = [start + int(np.argmax(sizes[start:stop])) for start, stop in zip(edges, edges[1:], strict=False)]
    return sorted({*peaks, *always})


def _path(kept: Sequence[int], values: np.ndarray, scale: Axis) -> str:
    """A path with steps (from 1) as x and units from the top as y: the first point, then differences."""
    points = [(at + 1, scale.size - scale.place(float(values[at]))) for at in kept]
    moves = [(x - before[0], y - before[1]) for (x, y), before in zip(points[1:], points, strict=False)]
    start = f"M{points[0][0]} {points[0][1]}"
    return start + ("l" + " ".join(f"{dx} {dy}" for dx, dy in moves) if moves else "h0")
