"""Pages that need no network: styles, script and drawings are inside, and every name is escaped."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from jaxnn import page
from jaxnn.parity.report import Report, document, summary
from jaxnn.parity.report.page import layers, steps
from jaxnn.parity.report.page.axis import Axis

Matrix = Sequence[Mapping[str, Any]]
"""A row for each planted fault: its name ``fault``, its ``cause``, the ``model`` it is planted in, the levels
``detected_by``, ``located`` (text), ``diagnosis`` (the causes named) and whether all that is ``correct``."""

_SHARES = Axis(-6, 6, zero=True)  # of the strips that show a level's errors as shares of their tolerances


def render(report: Report) -> str:
    """The page of one report."""
    return _templates().get_template("report.html").render(view=_View(report))


def certificate(
    reports: Sequence[Report], *, title: str, about: Mapping[str, Any], matrix: Matrix | None = None
) -> str:
    """The page of many reports: an overview, each report's details folded, and how planted faults were found."""
    compared, environment = summary.split_about(about)
    differing = [report.title for report in reports if not report.ok]
    count = sum(len(report.entries) for report in reports)
    return (
        _templates()
        .get_template("certificate.html")
        .render(
            title=title,
            sentence=f"Not so: {'; '.join(differing)}" if differing else f"{count:,} comparisons, all within tolerance",
            views=[_View(report, key=f"report-{number}") for number, report in enumerate(reports, start=1)],
            levels=[level for level in summary.LEVELS if any(e.level == level for r in reports for e in r.entries)],
            compared=compared,
            environment=environment,
            matrix=None if matrix is None else list(matrix),
            caught_by=[level for level in summary.LEVELS if any(level in row["detected_by"] for row in matrix or ())],
        )
    )


def certificate_json(
    reports: Sequence[Report],
    *,
    title: str,
    about: Mapping[str, Any],
    matrix: Matrix | None = None,
    series: bool = False,
) -> str:
    """The certificate as strict JSON (see ``strict_json``): every entry of every report, and with ``series`` also the
    errors of every single step, which take megabytes."""
    return document.text(document.of_certificate(reports, title=title, about=about, matrix=matrix, series=series))


@dataclass(frozen=True)
class _View:
    """A report as its templates want it; ``key`` keeps the anchors of several reports on a page apart."""

    report: Report
    key: str = "report"

    @functools.cached_property
    def levels(self) -> list[summary.LevelSummary]:
        return summary.levels(self.report)

    @functools.cached_property
    def by_level(self) -> dict[str, summary.LevelSummary]:
        return {row.level: row for row in self.levels}

    @functools.cached_property
    def about(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        return summary.split_about(self.report.about)

    @functools.cached_property
    def layers(self) -> layers.LayerPlot:
        return layers.plot(self.report)

    @functools.cached_property
    def step_plots(self) -> list[steps.StepPlot]:
        return steps.plots(self.report)

    @property
    def verdict(self) -> str:
        sentence = summary.verdict(self.report)
        return sentence[0].upper() + sentence[1:]

    @property
    def headline(self) -> str:
        first = self.report.first_divergence
        if first is None:
            return "Both agree" if self.report.ok else "Nothing was compared"
        article = "the " if first.what in ("input", "output", "loss") else ""
        step = "" if first.step is None else f", step {first.step:,}"
        return f"First difference: {article}{summary.place(first)}{step}"


def _strip(row: summary.LevelSummary) -> dict[str, str]:
    """A level's errors as dots on an axis of shares of the tolerance; none where only exact agreement is allowed."""
    places: dict[str, set[int]] = {"within": set(), "noted": set(), "beyond": set()}
    for entry in map(summary.peak, row.entries):
        if entry.tolerance > 0 or not entry.within:
            kind = "beyond" if entry.failed else "within" if entry.within else "noted"
            places[kind].add(_SHARES.place(summary.severity(entry)) // 40 * 40)
    return {name: "".join(f"M{place} 1h.1" for place in sorted(found)) for name, found in places.items()}


def _exactly(value: float) -> str:
    """As JavaScript's Number reads it."""
    return repr(float(value)).replace("inf", "Infinity").replace("nan", "NaN")


@functools.cache
def _templates() -> jinja2.Environment:
    environment = page.environment(Path(__file__).parent / "templates")
    environment.filters |= {
        "number": summary.number,
        "place": summary.place,
        "given": summary.given,
        "severity": summary.severity,
        "strip": _strip,
        "exactly": _exactly,
    }
    environment.globals |= {"shares": _SHARES, "level_words": summary.COMPARED, "level_order": list(summary.LEVELS)}
    return environment
