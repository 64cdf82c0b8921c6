"""Reports and certificates as JSON. ``format`` grows by one when a reader of the old one would misread the new."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from jaxnn.errors import UserError
from jaxnn.parity.report import Entry, Report, strict_json, summary

FORMAT = 1
_REPORT, _CERTIFICATE = "jaxnn parity report", "jaxnn parity certificate"
_ADAPTER = pydantic.TypeAdapter(Report)


def of_report(report: Report) -> dict[str, Any]:
    """The whole report, and what follows from it (ok, first_divergence, levels) for readers without jaxnn."""
    return {
        "kind": _REPORT,
        "format": FORMAT,
        "title": report.title,
        "ok": report.ok,
        "first_divergence": _without_series(report.first_divergence),
        "levels": [
            {"level": row.level, "compared": row.compared, "failed": row.failed, "worst": _without_series(row.worst)}
            for row in summary.levels(report)
        ],
        **{name: value for name, value in dataclasses.asdict(report).items() if name != "title"},
    }


def of_certificate(
    reports: Sequence[Report],
    *,
    title: str,
    about: Mapping[str, Any],
    matrix: Sequence[Mapping[str, Any]] | None = None,
    series: bool = False,
) -> dict[str, Any]:
    """Many reports, and the matrix of planted faults if there is one (``page.certificate`` says what it holds).

    ``series``: whether entries keep the errors and tolerances of single steps.
    """
    documents = [of_report(report) for report in reports]
    if not series:
        for document, report in zip(documents, reports, strict=True):
            document["entries"] = [_without_series(entry) for entry in report.entries]
    return {
        "kind": _CERTIFICATE,
        "format": FORMAT,
        "title": title,
        "ok": bool(reports) and all(report.ok for report in reports),
        "about": dict(about),
        "matrix": None if matrix is None else [dict(row) for row in matrix],
        "reports": documents,
    }


def _without_series(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {key: value for key, value in vars(entry).items() if key not in ("errors", "tolerances")}


def text(document: Mapping[str, Any]) -> str:
    return strict_json.text(document)


def read_report(path: Path) -> Report:
    """The report in ``path``. Raises UserError if there is none, or one that is damaged or of a later format."""
    try:
        document = json.loads(path.read_bytes())
        kind, form = document["kind"], document["format"]
    except FileNotFoundError as error:
        raise UserError(f"there is no report {path}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not the JSON that Report.save writes") from error
    if kind != _REPORT:
        raise UserError(f"{path} is not a parity report: its kind is {kind!r}")
    if form != FORMAT:
        raise UserError(f"{path} has format {form!r}, but this version of jaxnn reads {FORMAT}")
    try:
        return _ADAPTER.validate_python(document)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path} is damaged: {at}: {first['msg']}") from error
