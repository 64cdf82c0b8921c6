"""A whole run: case after case, the file written after each, so that an interruption loses none."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import batch_sizes, machine, plot, record
from .cases import Case
from .measure import matrix_rates, measure
from .record import Section
from .rivals import REFERENCE, RIVALS
from .settings import Settings
from .worker import Workers

Report = Callable[[str], None]


def table(cases: tuple[Case, ...], settings: Settings, file: Path, report: Report) -> dict[str, Any]:
    """Measures ``cases`` into the section "table" of ``file`` and returns it."""
    described = _machine(settings, report)
    peaks = matrix_rates(settings)
    report("matrix products, GFLOP/s: " + ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in peaks.items()))
    rows = (measure(case, settings, peaks=peaks) for case in cases)
    return _written(file, "table", described, settings, rows, {"peaks": peaks}, report)


def sweep(
    names: tuple[str, ...], sizes: tuple[int, ...], settings: Settings, file: Path, report: Report
) -> dict[str, Any]:
    """Measures recipes over batch sizes into the section "batch_sizes" of ``file``; draws it beside the file."""
    rows = batch_sizes.sweep(names, sizes, settings)
    section = _written(file, "batch_sizes", _machine(settings, report), settings, rows, {}, report)
    plot.figure(section).savefig(picture(file))
    return section


def picture(file: Path) -> Path:
    return file.with_name(f"{file.stem}-batch-sizes.png")


def gate_failed(section: dict[str, Any]) -> bool:
    """Whether any figure was withheld."""
    return any("withheld" in figures for row in section["rows"] for figures in row["rivals"].values())


def _machine(settings: Settings, report: Report) -> dict[str, Any]:
    with Workers(("jaxnn", REFERENCE), settings) as workers:
        devices = {RIVALS[rival].framework: workers[rival].ask(rival, "device") for rival in ("jaxnn", REFERENCE)}
    described = machine.describe(devices)
    report(f"{described['processor']}, {described['cores']} cores, {settings.threads} threads each, {devices}")
    if (described["load"] or 0) > machine.cores() / 2:
        report(
            f"note: the load is {described['load']} already; others' work makes PyTorch's threads wait for each other"
        )
    return described


def _written(
    file: Path,
    section: Section,
    described: dict[str, Any],
    settings: Settings,
    rows: Iterator[dict[str, Any]],
    fields: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    done: list[dict[str, Any]] = []
    for row in rows:
        done.append(row)
        record.write(file, section, described, settings, fields | {"rows": done})
        report(_summary(row))
    return record.read(file)[section]


def _summary(row: dict[str, Any]) -> str:
    parts = []
    for rival, figures in row["rivals"].items():
        if "ratio" in figures:
            parts.append(f"{rival} {figures['examples_per_second'][1]:,.0f} ({figures['ratio'][1]:.2f}x)")
        else:
            parts.append(
                f"{rival} " + ", ".join(f"{kind}: {why}" for kind, why in figures.items() if kind != "baseline")
            )
    return f"{row['name']:32} " + "  ".join(parts)
