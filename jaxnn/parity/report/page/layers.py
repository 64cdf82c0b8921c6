"""The module tree in the order of calls: what each layer computes on its own, in the whole pass, and its gradients."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from jaxnn.parity.report import Entry, Level, Report, summary
from jaxnn.parity.report.page import axis
from jaxnn.parity.report.page.axis import Axis

Status = Literal["ok", "failed", "inherited", "absent"]
"""``inherited``: beyond tolerance, but within when fed the reference's input, so through what came before."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A module that holds others, what lies before a layer (only where it differs), or a layer.

    ``alone``, ``whole``, ``gradient``: the worst entries. ``drawing``: the row's part of the plot.
    """

    what: Literal["module", "between", "layer"]
    label: str
    depth: int = 0
    name: str = ""
    kind: str = ""
    path: str = ""
    alone: Entry | None = None
    whole: Entry | None = None
    gradient: Entry | None = None
    first: bool = False
    drawing: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        if self.first or (self.alone is not None and self.alone.failed):
            return "failed"
        if self.whole is not None and self.whole.failed:
            return "inherited" if self.alone is not None else "failed"
        return "absent" if self.alone is None and self.whole is None else "ok"


@dataclass(frozen=True)
class LayerPlot:
    """``axis`` is None where no layer's output was compared."""

    rows: list[Row]
    axis: Axis | None

    @property
    def ticks(self) -> list[tuple[float, str]]:
        return self.axis.ticks(5, apart=0.15) if self.axis else []

    @property
    def has_gradients(self) -> bool:
        return any(row.gradient is not None for row in self.rows)


def plot(report: Report) -> LayerPlot:
    rows = _mark(_rows(report), report.first_divergence)
    compared = [entry for row in rows for entry in (row.alone, row.whole) if entry is not None]
    if not compared:
        return LayerPlot(rows, None)
    scale = axis.around(figure for entry in compared for figure in (entry.error, entry.tolerance))
    return LayerPlot(_draw(rows, scale), scale)


def _rows(report: Report) -> list[Row]:
    forward, gradients = _by_name(report, "forward"), _by_name(report, "gradients")
    rows: list[Row] = []
    inside: list[str] = []
    named = [layer["name"] for layer in report.layers]
    outputs = [{"name": name} for name in forward if name not in named]  # the model's own
    for layer in (*report.layers, *outputs):
        name, module = layer["name"], layer["name"].partition("#")[0]
        parents = module.split(".")[:-1]
        rows += _headings(parents, inside)
        inside = parents
        row = Row(
            what="layer",
            label=name.split(".")[-1] or "(the model)",
            depth=len(parents),
            name=name,
            kind=layer.get("kind", ""),
            path=layer.get("path", ""),
            alone=_worst([entry for entry in forward[name] if entry.what != "input" and entry.alone]),
            whole=_worst([entry for entry in forward[name] if entry.what != "input" and not entry.alone]),
            gradient=_worst([entry for key, found in gradients.items() if _belongs(key, name) for entry in found]),
        )
        inputs = [entry for entry in forward[name] if entry.what == "input"]
        before, whole = (_worst([entry for entry in inputs if entry.alone is alone]) for alone in (True, False))
        if before is not None and before.failed:
            label = f"before {row.label}"
            rows.append(Row(what="between", label=label, depth=row.depth, name=name, alone=before, whole=whole))
        rows.append(row)
    return rows


def _headings(parents: Sequence[str], inside: Sequence[str]) -> list[Row]:
    """The modules that are entered on the way from a layer ``inside`` one to a layer with these ``parents``."""
    shared = next((at for at, pair in enumerate(zip(parents, inside, strict=False)) if pair[0] != pair[1]), None)
    shared = min(len(parents), len(inside)) if shared is None else shared
    return [
        Row(what="module", label=parents[depth], depth=depth, name=".".join(parents[: depth + 1]))
        for depth in range(shared, len(parents))
    ]


def _by_name(report: Report, level: Level) -> defaultdict[str, list[Entry]]:
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in report.entries:
        if entry.level == level:
            entries[entry.torch_name].append(entry)
    return entries


def _belongs(key: str, layer: str) -> bool:
    """Whether ``key`` is the layer itself or one of its own parameters (which the first call of a layer shows)."""
    return layer in (key, key.rpartition(".")[0])


def _worst(entries: Sequence[Entry]) -> Entry | None:
    return max(entries, key=summary.rank, default=None)


def _mark(rows: list[Row], first: Entry | None) -> list[Row]:
    if first is None:
        return rows
    what = "between" if first.what == "input" and first.alone else "layer"
    candidates = [at for at, row in enumerate(rows) if row.what == what and _belongs(first.torch_name, row.name)]
    return [replace(row, first=at in candidates[:1]) for at, row in enumerate(rows)]


def _draw(rows: list[Row], scale: Axis) -> list[Row]:
    """Each row with its part of both lines, as paths two units high, and the tolerance where it stands."""
    alone = _paths([scale.place(row.alone.error) if row.alone else None for row in rows])
    whole = _paths([scale.place(row.whole.error) if row.whole else None for row in rows])
    allowed = [row.alone or row.whole for row in rows]
    limits = _everywhere([scale.place(entry.tolerance) if entry else None for entry in allowed])
    return [
        replace(row, drawing={"alone": alone[at], "whole": whole[at], "limit": str(limits[at])})
        for at, row in enumerate(rows)
    ]


def _paths(places: list[int | None]) -> list[str]:
    """A line down through all rows, cut at their borders: from the upper border by the row's middle to the lower."""
    known = [at for at, place in enumerate(places) if place is not None]
    values = [place for place in places if place is not None]
    paths = []
    for at in range(len(places)):
        span = [
            (row, y) for row, y in ((at - 0.5, 0), (at, 1), (at + 0.5, 2)) if known and known[0] <= row <= known[-1]
        ]
        points = [f"{round(float(np.interp(row, known, values)))} {y}" for row, y in span]
        paths.append("M" + "L".join(points) if len(points) > 1 else "")
    return paths


def _everywhere(places: list[int | None]) -> list[int]:
    """The known places, and for the rows between the place of the last row before (or the first at all)."""
    last = next(place for place in places if place is not None)
    filled = []
    for place in places:
        last = last if place is None else place
        filled.append(last)
    return filled
