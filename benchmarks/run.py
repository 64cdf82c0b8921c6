"""A whole run: case after case, the file written after each, so that an interruption loses none."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxnn import cores

from . import batch_sizes, machine, plot, record
from .cases import Case
from .measure import measure
from .record import Section
from .rivals import REFERENCE, RIVALS
from .settings import Settings
from .worker import Workers

Report = Callable[[str], None]


def table(cases: tuple[Case, ...], settings: Settings, file: Path, report: Report) -> dict[str, Any]:
    """Measures ``cases`` into the section "table" of ``file`` and returns it."""
    described, peaks = _machine(settings, report, rates=True)
    rows = (measure(case, settings, peaks=peaks) for case in cases)
    return _written(file, "table", described, settings, rows, {"peaks": peaks}, report)


def sweep(
    names: tuple[str, ...], sizes: tuple[int, ...], settings: Settings, file: Path, report: Report
) -> dict[str, Any]:
    """Measures recipes over batch sizes into the section "batch_sizes" of ``file``; draws it beside the file."""
    rows = batch_sizes.sweep(names, sizes, settings)
    described, _ = _machine(settings, report, rates=False)
    section = _written(file, "batch_sizes", described, settings, rows, {}, report)
    plot.figure(section).savefig(picture(file))
    return section


def picture(file: Path) -> Path:
    return file.with_name(f"{file.stem}-batch-sizes.png")


def gate_failed(section: dict[str, Any]) -> bool:
    """Whether any figure was withheld."""
    return any("withheld" in figures for row in section["rows"] for figures in row["rivals"].values())


def _machine(settings: Settings, report: Report, *, rates: bool) -> tuple[dict[str, Any], dict[str, float]]:
    """The machine, and the operations a second of large matrix products in each framework."""
    with Workers(("jaxnn", REFERENCE), settings) as workers:

        def ask(method: str) -> dict[str, Any]:
            return {RIVALS[rival].framework: workers[rival].ask(rival, method) for rival in ("jaxnn", REFERENCE)}

        # The rates first: the question for the device starts XLA, with as many threads as are set by then.
        peaks = ask("matrix_rate") if rates else {}
        devices = ask("device")
    described = machine.describe(devices)
    report(f"{described['processor']}, {described['cores']} cores, {settings.threads} threads each, {devices}")
    if (described["load"] or 0) > cores.usable() / 2:
        report(
            f"note: the load is {described['load']} already; others' work makes PyTorch's threads wait for each other"
        )
    if peaks:
        report("matrix products, GFLOP/s: " + ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in peaks.items()))
    return described, peaks


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
