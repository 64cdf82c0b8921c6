"""From failing entries to at most two diagnoses: places in the order of computation, each with its own hypotheses."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from jaxnn.parity.diagnosis.evidence import Evidence
from jaxnn.parity.diagnosis.places import FAMILIES, REMAINDERS
from jaxnn.parity.report import Diagnosis, Entry

MOST = 2

Place = tuple[str, str]
"""A family of places.FAMILIES, and where: ("layer", "conv1"), ("between", "fc1"), ("buffers", "bn"), ("loss", "")."""


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """The likeliest causes of what failed, the first to show first, at most two; none that the numbers do not bear out.

    Of two findings with one cause the second counts as another place of the first.
    """
    with np.errstate(all="ignore"):  # a wrong hypothesis may well divide by zero
        return _diagnosed(evidence)


def _diagnosed(evidence: Evidence) -> tuple[Diagnosis, ...]:
    found: dict[str, Diagnosis] = {}
    where: dict[str, list[str]] = {}
    places = _places(evidence)
    for catalogue in (FAMILIES, REMAINDERS):
        for family, place in places:
            finding = catalogue[family](evidence, place) if family in catalogue else None
            for diagnosis in () if finding is None else finding.diagnoses():
                if diagnosis.cause in found:
                    where[diagnosis.cause].append(place)
                elif len(found) < MOST:
                    found[diagnosis.cause], where[diagnosis.cause] = diagnosis, [place]
    return tuple(_with_places(diagnosis, where[cause]) for cause, diagnosis in found.items())


def _with_places(diagnosis: Diagnosis, places: list[str]) -> Diagnosis:
    others = [place for place in dict.fromkeys(places[1:]) if place and place != places[0]]
    if not others:
        return diagnosis
    shown = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
    return replace(diagnosis, evidence=f"{diagnosis.evidence}. The same at {shown}")


def _places(evidence: Evidence) -> list[Place]:
    """Where entries failed, in order, each once; what merely follows from an earlier failure is left out."""
    failed = [entry for entry in evidence.entries if entry.failed]
    return list(dict.fromkeys(place for entry in failed for place in _of(evidence, entry, failed)))


def _of(evidence: Evidence, entry: Entry, failed: list[Entry]) -> Iterator[Place]:
    name = entry.torch_name
    match entry.level:
        case "forward" if entry.alone or (not evidence.fed and entry is _first(failed, "forward")):
            output = entry.what == "output" and evidence.index(name) is not None
            yield ("layer" if output else "between"), name
        case "buffers":
            yield "buffers", name.rpartition(".")[0]
        case "weights" | "init":
            yield entry.level, name
        case "loss" | "gradients" | "optimizer":
            yield entry.level, ""
        case "trajectory" if all(other.level == "trajectory" for other in failed):
            yield "optimizer", ""


def _first(failed: list[Entry], level: str) -> Entry | None:
    return next((entry for entry in failed if entry.level == level), None)
