"""A report as plain text, for a terminal and for the message of a failing test."""

import textwrap
from collections.abc import Collection, Sequence

from jaxnn.parity.report import Entry, Report, summary

_SHOWN = 12  # failures, in the order of computation: the later ones mostly follow from the first


def render(report: Report, *, width: int = 100) -> str:
    """Verdict, first divergence, likely causes, the worst of each level, what failed, notes."""
    first = report.first_divergence
    parts: list[list[str]] = [_head(report, width)]
    if first is not None:
        parts.append(_wrap("First divergence: ", _sentence(first), width))
    if first is not None and not report.diagnoses:
        parts.append(["Likely cause: none of the known ones fits the numbers"])
    for position, diagnosis in enumerate(report.diagnoses):
        parts.append(
            [
                f"{'Also likely' if position else 'Likely cause'}: {diagnosis.cause}",
                *_wrap("  evidence  ", diagnosis.evidence, width),
                *_wrap("  fix       ", diagnosis.fix, width),
            ]
        )
    if report.entries:
        parts.append(_levels(report))
    if first is not None:
        parts.append(_failures(report))
    if report.notes:
        parts.append(["Notes", *(line for note in report.notes for line in _wrap("  - ", note, width))])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _head(report: Report, width: int) -> list[str]:
    about, _ = summary.split_about(report.about)
    lines = _wrap(f"{'PASSED' if report.ok else 'FAILED'}  ", f"{report.title}: {summary.verdict(report)}", width)
    described = ", ".join(f"{key} {value}" for key, value in about.items())
    return lines + (_wrap("        ", described, width) if described else [])


def _sentence(entry: Entry) -> str:
    place = ", ".join([summary.place(entry), *summary.circumstances(entry)])
    error = summary.number(entry.error, apart_from=entry.tolerance)
    text = f"level {entry.level}, {place}: error {error}, tolerance {summary.number(entry.tolerance)}"
    if entry.what == "input" and entry.alone:
        text += f"; so what lies between {entry.torch_name} and the layer before it differs"
    return text + (f" ({entry.note})" if entry.note else "")


def _levels(report: Report) -> list[str]:
    rows = [("", "level", "compared", "beyond", "worst error", "tolerance", "where")]
    for row in summary.levels(report):
        mark = "FAILED" if row.failed else "note" if row.noted else "ok"
        rows.append((mark, row.level, f"{row.compared:,}", row.beyond or "-", *_figures(row.worst)))
    return _columns(rows, right=(2, 3, 4, 5))


def _failures(report: Report) -> list[str]:
    failed = [entry for entry in report.entries if entry.failed]
    rows = [("level", "step", "error", "tolerance", "where")]
    for entry in failed[:_SHOWN]:
        rows.append((entry.level, "-" if entry.step is None else f"{entry.step:,}", *_figures(entry)))
    more = len(failed) - _SHOWN
    lines = ["Beyond tolerance, in the order of computation", *_columns(rows, right=(1, 2, 3))]
    return lines + ([f"  ... and {more:,} more"] if more > 0 else [])


def _figures(entry: Entry) -> tuple[str, str, str]:
    where = summary.place(entry)
    if entry.alone:
        where += ", on its own"
    if entry.nnx_path and entry.nnx_path not in where:
        where += f"  [{entry.nnx_path}]"
    return summary.number(entry.error, apart_from=entry.tolerance), summary.number(entry.tolerance), where


def _columns(rows: Sequence[Sequence[str]], *, right: Collection[int]) -> list[str]:
    """Rows under each other, two spaces in. Nothing is cut: a name is there to be searched for."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [text.rjust(size) if place in right else text.ljust(size) for place, (text, size) in enumerate(pairs)]
        for pairs in (zip(row, widths, strict=True) for row in rows)
    ]
    return [f"  {'  '.join(cells)}".rstrip() for cells in aligned]


def _wrap(label: str, text: str, width: int) -> list[str]:
    """``text`` after ``label``, its further lines below its first; names are never broken."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label.rstrip()]
