"""What parity makes of each planted fault: the levels that catch it, where it is located, the cause that is named."""

import time
from typing import Any

from jaxnn.parity.faults.catalogue import FAULTS
from jaxnn.parity.faults.fault import Fault, Pair
from jaxnn.parity.report import Entry, summary


def run(fault: Fault) -> dict[str, Any]:
    """The fault's row of the matrix.

    ``fault``, ``cause``, ``model``; ``detected_by``: the levels with entries beyond tolerance; ``located``: the
    first of them, in words, and whether that is the right place (``location_right``); ``diagnosis``: the causes named,
    the likeliest first; ``correct``: whether the place is right and the first cause is; ``second``: whether the second
    cause is; ``seconds``.
    """
    started = time.perf_counter()
    report = fault.compare()
    seconds = time.perf_counter() - started
    failed = {entry.level for entry in report.entries if entry.failed}
    causes = [diagnosis.cause for diagnosis in report.diagnoses]
    found = _is_there(fault, report.first_divergence)
    return {
        "fault": fault.name,
        "cause": fault.cause,
        "model": fault.pair.model,
        "detected_by": [level for level in summary.LEVELS if level in failed],
        "located": _words(report.first_divergence),
        "location_right": found,
        "diagnosis": causes,
        "correct": found and causes[:1] == [fault.cause],
        "second": causes[1:2] == [fault.cause],
        "seconds": round(seconds, 2),
    }


def matrix() -> list[dict[str, Any]]:
    """The rows of all planted faults."""
    return [run(fault) for fault in FAULTS]


def controls() -> tuple[Pair, ...]:
    """Every pair in which a fault is planted, each once: without it, all of them must be ok."""
    return tuple({id(fault.pair): fault.pair for fault in FAULTS}.values())


def _is_there(fault: Fault, entry: Entry | None) -> bool:
    if entry is None or entry.level != fault.level or entry.step != fault.step:
        return False
    return not fault.where or entry.torch_name in fault.where


def _words(entry: Entry | None) -> str:
    if entry is None:
        return ""
    step = "" if entry.step is None else f", step {entry.step}"
    return f"{summary.place(entry)}{step}"
