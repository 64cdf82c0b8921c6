"""One case: all rivals prepared, gated, timed in turns, and what else is said of them."""

from typing import Any

import numpy as np

from . import gate, timing
from .cases import Case
from .rivals import REFERENCE, RIVALS
from .session import Start
from .settings import Settings
from .worker import RivalFailed, Workers

_MIB = 2**20


def measure(case: Case, settings: Settings, *, peaks: dict[str, float] | None = None) -> dict[str, Any]:
    """The row of a case, in processes of its own. ``peaks``: the matrix rate of each framework, for the share of it."""
    rivals = tuple(name for name in settings.rivals if not case.evaluates or RIVALS[name].evaluate)
    with Workers(rivals, settings) as workers:
        return in_turns(case, settings, workers, rivals, peaks=peaks, memory=True)


def in_turns(
    case: Case,
    settings: Settings,
    workers: Workers,
    rivals: tuple[str, ...],
    *,
    peaks: dict[str, float] | None = None,
    memory: bool = False,
) -> dict[str, Any]:
    """The row of a case: {"recipe", "batch_size", "evaluates", "flops", "rivals": {name: figures}}.

    The figures of a rival that cannot run are {"failed": why}; of one that the gate holds back {"withheld": what
    differs}; else examples a second and the ratio to PyTorch eager (quartiles of the rounds), and the rest.
    """
    starts: dict[str, Start] = {}
    figures: dict[str, dict[str, Any]] = {}
    # One after another: compilations beside each other would be timed together.
    for rival in rivals:
        try:
            starts[rival] = workers[rival].prepare(rival, case)
        except RivalFailed as failure:
            figures[rival] = {"failed": str(failure)}
    rates = _rates(starts, figures, settings, workers)
    used = {rival: workers[rival].ask(rival, "peak") for rival in rates} if memory else {}
    row = case._asdict() | {"name": case.name, "rivals": {}}
    if REFERENCE in rates:
        allowed = workers[REFERENCE].ask(REFERENCE, "allowed", case)
        row["gate_steps"] = starts[REFERENCE].steps
        for rival, values in rates.items():
            figures[rival] = _judged(rival, starts, values, rates[REFERENCE], allowed)
    if "jaxnn" in rates:
        row["xla_threads"] = workers["jaxnn"].ask("jaxnn", "xla_threads")
        row["flops"] = None if case.evaluates else workers["jaxnn"].ask("jaxnn", "flops", case)
    for rival, own in figures.items():
        own |= {f"{kind}_mib": bytes / _MIB for kind, bytes in used.get(rival, {}).items() if bytes is not None}
        if peaks and row.get("flops") and "examples_per_second" in own:
            steps_per_second = own["examples_per_second"][1] / starts[rival].examples
            own["share_of_peak"] = row["flops"] * steps_per_second / max(peaks.values())
    row["rivals"] = {rival: figures.get(rival, {"failed": "PyTorch eager has no figures"}) for rival in rivals}
    return row


def _rates(
    starts: dict[str, Start], figures: dict[str, dict[str, Any]], settings: Settings, workers: Workers
) -> dict[str, np.ndarray]:
    """Steps a second of all rivals that get through; the others' figures say why not."""
    while True:
        running = [rival for rival in starts if rival not in figures]

        def run(rival: str) -> timing.Run:
            return lambda steps: workers[rival].ask(rival, "run", rival, steps)

        try:
            return timing.interleave(
                {rival: run(rival) for rival in running}, rounds=settings.rounds, seconds=settings.seconds
            )
        except RivalFailed as failure:
            figures[failure.rival] = {"failed": str(failure)}


def _judged(
    rival: str,
    starts: dict[str, Start],
    rates: np.ndarray,
    reference: np.ndarray,
    allowed: gate.Allowed,
) -> dict[str, Any]:
    agreement = gate.judge(starts[rival].observed, starts[REFERENCE].observed, allowed)
    if not agreement.ok:
        return {"withheld": str(agreement)}
    return {
        "examples_per_second": timing.quartiles(rates * starts[rival].examples),
        "ratio": timing.quartiles(rates / reference),
        "compile_seconds": starts[rival].compile_seconds,
        "agreement": {"name": agreement.name, "error": agreement.error, "allowed": agreement.allowed},
    }
