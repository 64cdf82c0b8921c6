"""The figures as a Markdown table, and its place in a document."""

import re
from pathlib import Path
from typing import Any

from jaxnn.errors import UserError

from .rivals import REFERENCE, RIVALS

BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
_ORDER = ("jaxnn", REFERENCE, "compile", "document", "flax")


def table(section: dict[str, Any]) -> str:
    """Examples a second (medians) of each row's rivals, and what else is known; below it, what is missing and why."""
    rows = section["rows"]
    shown = [rival for rival in _ORDER if any(rival in row["rivals"] for row in rows)]
    titles = [RIVALS[rival].title for rival in shown]
    heads = ["recipe, batch", *titles, "jaxnn / eager", "compile s", "share of peak", "peak MiB"]
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    reasons: list[str] = []
    for row in rows:
        lines.append(_line([row["name"], *(_rate(row, rival, reasons) for rival in shown), *_rest(row)]))
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([*lines, "", *notes, *([""] if notes else []), _conditions(section)])


def into(document: Path, text: str) -> None:
    """Puts ``text`` between the markers of ``document``; raises what ``require_place`` raises."""
    content = require_place(document)
    pattern = re.compile(f"({re.escape(BEGIN)}).*?({re.escape(END)})", re.DOTALL)
    document.write_text(pattern.sub(lambda match: f"{match[1]}\n{text}\n{match[2]}", content, count=1))


def require_place(document: Path) -> str:
    """The text of ``document``. Raises UserError if it lacks the markers."""
    content = document.read_text() if document.is_file() else ""
    if BEGIN not in content or END not in content:
        raise UserError(f"{document} has no {BEGIN} and {END} between which a table could go")
    return content


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(row: dict[str, Any], rival: str, reasons: list[str]) -> str:
    figures = row["rivals"].get(rival)
    if figures is None:
        return "-"
    if "examples_per_second" in figures:
        return f"{figures['examples_per_second'][1]:,.0f}"
    kind = "withheld" if "withheld" in figures else "failed"
    reasons.append(f"{row['name']}, {RIVALS[rival].title}: {figures[kind]}")
    return f"{kind} ({len(reasons)})"


def _rest(row: dict[str, Any]) -> list[str]:
    rivals = row["rivals"]
    ours, compiled = rivals.get("jaxnn", {}), rivals.get("compile", {})
    ratio = "{1:.2f} [{0:.2f}-{2:.2f}]".format(*ours["ratio"]) if "ratio" in ours else "-"
    seconds = [f"{figures['compile_seconds']:.1f}" for figures in (ours, compiled) if "compile_seconds" in figures]
    share = f"{ours['share_of_peak']:.1%}" if "share_of_peak" in ours else "-"
    peaks = [_peak(figures) for figures in (ours, rivals.get(REFERENCE, {}))]
    return [ratio, " / ".join(seconds) or "-", share, " / ".join(peaks) if any(p != "-" for p in peaks) else "-"]


def _peak(figures: dict[str, Any]) -> str:
    peak = figures.get("device_mib", figures.get("host_mib"))
    return "-" if peak is None else f"{peak:,.0f}"


def _conditions(section: dict[str, Any]) -> str:
    machine, settings = section["machine"], section["settings"]
    peaks = section.get("peaks") or {}
    rates = ", ".join(f"{framework} {rate / 1e9:,.0f}" for framework, rate in peaks.items())
    tf32 = "with TF32" if settings["tf32"] else "without TF32"
    devices = ", ".join(f"{framework}: {device}" for framework, device in machine["devices"].items())
    versions = ", ".join(f"{package} {machine[package]}" for package in ("jax", "flax", "torch"))
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, devices {devices}; "
        f"{settings['threads']} threads each, {settings['precision']} {tf32}; "
        f"{settings['rounds']} rounds of {settings['seconds']} s; {versions}, Python {machine['python']}. "
        f"Matrix products, GFLOP/s: {rates or 'not measured'}."
    )
