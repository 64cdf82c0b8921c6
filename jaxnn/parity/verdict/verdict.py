"""From two recordings to a report; reads dumps too, and needs neither framework."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn.errors import UserError
from jaxnn.parity import dump
from jaxnn.parity.diagnosis import Evidence, diagnose
from jaxnn.parity.recording import Arrays, Recording
from jaxnn.parity.report import Report
from jaxnn.parity.verdict import initial
from jaxnn.parity.verdict.judge import Band, Judge, Steps, first_pass, require_same_model
from jaxnn.parity.verdict.tolerances import tolerances


def compare_dumps(left: Path, right: Path, *, atol: float | None = None, rtol: float | None = None) -> Report:
    """The report on two dumps, the reference first. Raises UserError if they are damaged or not comparable."""
    theirs, their_steps = dump.read(left)
    ours, our_steps = dump.read(right)
    require_same_model(theirs, ours)
    steps = zip(their_steps, our_steps, strict=True)
    try:
        with np.errstate(all="ignore"):  # the report says what is infinite or NaN
            return verdict(theirs, ours, steps, atol=atol, rtol=rtol, title=f"{left} and {right}")
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Whole files of which one contradicts another: an array of another shape than its layer's.
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"the recordings {left} and {right} cannot be compared ({why}); record them again") from error


def verdict(
    left: Recording,
    right: Recording,
    steps: Iterable[tuple[Arrays, Arrays]],
    *,
    title: str,
    band: Band | None = None,
    atol: float | None = None,
    rtol: float | None = None,
) -> Report:
    """Judges ``right`` by ``left``, and each of the ``steps`` of training, as they come; says why they differ."""
    batch_norm = any(layer.kind.startswith("BatchNorm") for layer in left.layers)
    stated = tolerances(left.precision, batch_norm=batch_norm, optimizer=left.optimizer)
    judge = Judge(left=left, right=right, tolerances=stated, atol=atol, rtol=rtol)
    entries = [*initial.entries(left, right), *first_pass(judge)]
    training = Steps(judge, band)
    for number, (theirs, ours) in enumerate(steps, start=1):
        training.add(number, theirs, ours)
    entries += training.entries()
    evidence = Evidence(left=left, right=right, entries=tuple(entries), history=training.history)
    paths = {layer.name: layer.path for layer in right.layers}
    return Report(
        title=title,
        entries=tuple(entries),
        diagnoses=diagnose(evidence),
        layers=tuple(
            {"name": layer.name, "kind": layer.kind, "path": paths.get(layer.name, "")} for layer in left.layers
        ),
        about=_about(left, right),
        notes=tuple(dict.fromkeys((*left.notes, *right.notes, *training.notes()))),
    )


def _about(left: Recording, right: Recording) -> dict[str, Any]:
    return {
        "precision": left.precision,
        "mode": "training" if left.train else "evaluation",
        "batch": f"{left.arrays['inputs'].shape} inputs, {left.arrays['targets'].shape} targets",
        "loss": left.loss,
        "optimizer": left.optimizer,
        "steps": left.steps,
        left.framework: left.environment,
        right.framework if right.framework != left.framework else "right": right.environment,
    }
