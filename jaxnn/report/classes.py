"""How well each class is recognised, and for which other it is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxnn.report.evidence import Evidence
from jaxnn.report.runs import Run, Series

_CELLS = 30  # classes of a confusion matrix that can still be read


@dataclass(frozen=True)
class Row:
    """``accuracies``: mean and standard deviation over the runs of each series; None where nothing is known.
    ``taken_for``: the most frequent wrong class of the first series, and how often."""

    name: str
    examples: int | None
    accuracies: tuple[tuple[float, float] | None, ...]
    taken_for: tuple[str, int] | None


@dataclass(frozen=True)
class Matrix:
    """``cells[true][predicted]``: count and share of the true class. ``pairs``: instead of the cells of many classes,
    the most frequent mistakes (true, predicted, count)."""

    names: tuple[str, ...]
    cells: list[list[tuple[int, float]]]
    pairs: list[tuple[str, str, int]]

    @property
    def upright(self) -> bool:
        """Whether the names of the columns are too long to lie."""
        return max(map(len, self.names)) > 3


def names(run: Run, count: int) -> tuple[str, ...]:
    """The run's class names, or numbers where its record is gone."""
    return run.classes if len(run.classes) == count else tuple(map(str, range(count)))


def table(series: Sequence[Series], evidence: Mapping[str, Evidence]) -> list[Row]:
    """Of the first series' classes; series of other classes stand empty. Empty if nothing was measured."""
    known = [_accuracies(each, evidence[each.name]) for each in series]
    count = next((accuracies.shape[1] for accuracies in known if accuracies is not None), 0)
    own = names(series[0].first, count)
    alike = [
        accuracies is not None and accuracies.shape[1] == count and names(each.first, count) == own
        for each, accuracies in zip(series, known, strict=True)
    ]
    confusion = _confusion(evidence[series[0].name], count)
    rows = []
    for at, name in enumerate(own):
        accuracies = [
            _spread(found[:, at]) if fits and found is not None else None
            for found, fits in zip(known, alike, strict=True)
        ]
        examples = taken_for = None
        if confusion is not None:
            examples = int(confusion[at].sum())
            wrong = np.where(np.arange(count) == at, 0, confusion[at])
            taken_for = (own[int(wrong.argmax())], int(wrong.max())) if wrong.any() else None
        rows.append(Row(name, examples, tuple(accuracies), taken_for))
    return rows


def matrix(run: Run, confusion: np.ndarray) -> Matrix:
    own = names(run, len(confusion))
    totals = np.maximum(confusion.sum(axis=1), 1)
    if len(own) <= _CELLS:
        cells = [
            [(int(count), float(count / total)) for count in row] for row, total in zip(confusion, totals, strict=True)
        ]
        return Matrix(own, cells, [])
    wrong = confusion * (1 - np.eye(len(own), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:20]
    found = [(int(at) // len(own), int(at) % len(own)) for at in order]
    return Matrix(own, [], [(own[i], own[j], int(wrong[i, j])) for i, j in found if wrong[i, j]])


def _accuracies(series: Series, evidence: Evidence) -> np.ndarray | None:
    """(runs, classes), NaN for a class without examples: from the last row of metrics, else from the predictions."""
    found = [run.rows[-1].get("test_class_accuracy") for run in series.runs if run.rows]
    known = [each for each in found if isinstance(each, list)]
    found = [each for each in known if len(each) == len(known[0])]
    if found:
        return np.array(found, np.float64)
    if isinstance(evidence.predictions, str):
        return None
    confusion = evidence.predictions.confusion
    with np.errstate(invalid="ignore"):
        return (np.diag(confusion) / confusion.sum(axis=1))[None]


def _confusion(evidence: Evidence, classes: int) -> np.ndarray | None:
    if isinstance(evidence.predictions, str) or len(evidence.predictions.confusion) != classes:
        return None
    return evidence.predictions.confusion


def _spread(values: np.ndarray) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
