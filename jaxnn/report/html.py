"""Runs and what their checkpoints say -> the page."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from jaxnn import page
from jaxnn.report import chart, classes, pixels, words
from jaxnn.report.evidence import Evidence
from jaxnn.report.filters import Filters
from jaxnn.report.runs import Run, Series

_MISTAKES = 24


def render(series: Sequence[Series], evidence: Mapping[str, Evidence]) -> str:
    """The page of ``series``; ``evidence`` by the series' name, of its first run."""
    curves = [
        chart.chart("Loss", series, ("test_loss", "train_loss")),
        chart.chart("Accuracy", series, ("test_accuracy", "train_accuracy"), top=1.0),
        chart.chart("Learning rate", series, ("learning_rate",)),
    ]
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=series[0].first.recipe.name if len(series) == 1 else f"{_count(series)} runs compared",
            series=list(series),
            runs=[(each, run) for each in series for run in each.runs],
            headline=_headline(series),
            sentences=list(dict.fromkeys(words.sentence(each.first) for each in series)),
            unfinished=_unfinished(series),
            comparisons=words.comparisons(series),
            facts=_facts(series[0].first) if len(series) == 1 and not series[0].many else {},
            charts=[found for found in curves if found is not None],
            by_class=classes.table(series, evidence),
            details=[(each, evidence[each.name], _mistakes(each.first, evidence[each.name])) for each in series],
            recipes={each.name: words.tables(each.first.recipe) for each in series},
            differing=_differing(series),
            environments={each.name: words.surroundings(each.first.environment) for each in series},
        )
    )


def _headline(series: Sequence[Series]) -> str:
    if not any(run.rows for each in series for run in each.runs):
        return "No epoch is finished yet"
    ends = [(each, chart.by_epoch(each, "test_accuracy")) for each in series]
    parts = []
    for each, values in ends:
        if not values:
            parts.append(f"{each.name}: nothing measured")
            continue
        epoch, mean, spread = values[-1]
        around = f" ± {spread:.4f}" if each.many else ""
        text = f"test accuracy {mean:.4f}{around} after {epoch:,} epoch{'s' if epoch > 1 else ''}"
        parts.append(text if len(series) == 1 else f"{each.name}: {text}")
    text = "; ".join(parts) if len(parts) <= 3 else f"{_count(series)} runs"
    return text if len(series) > 1 else text[0].upper() + text[1:]


def _count(series: Sequence[Series]) -> int:
    return sum(len(each.runs) for each in series)


def _unfinished(series: Sequence[Series]) -> list[str]:
    found = []
    for each in series:
        for run in each.runs:
            if not run.finished:
                steps = run.steps
                name = each.name if not each.many else f"{each.name}, seed {run.recipe.seed}"
                done = "" if steps is None else f" after {steps[0]:,} of {steps[1]:,} steps measured"
                found.append(f"{name} is unfinished{done}; what follows shows it as it is now.")
    return found


def _facts(run: Run) -> dict[str, str]:
    if not run.rows:
        return {"framework": run.framework_name, "seed": str(run.recipe.seed)}
    end = run.rows[-1]
    best = max(run.rows, key=lambda row: row.get("test_accuracy", 0.0))
    return {
        "framework": run.framework_name,
        "test accuracy": f"{end.get('test_accuracy', float('nan')):.4f}",
        "test loss": f"{end.get('test_loss', float('nan')):.4f}",
        "best test accuracy": f"{best.get('test_accuracy', float('nan')):.4f} in epoch {best['epoch']}",
        "epochs": f"{end['epoch']:,}",
        "seconds of training": f"{run.seconds:.3g}",
        "examples a second": f"{words.speed(run):,.0f}",
        "seed": str(run.recipe.seed),
    }


def _mistakes(run: Run, evidence: Evidence) -> list[dict[str, Any]]:
    """The most confident mistakes; ``picture`` for images, else ``row``: the first columns of the example."""
    found = evidence.predictions
    if isinstance(found, str) or evidence.inputs is None:
        return []
    names = classes.names(run, found.probabilities.shape[1])
    images = evidence.inputs.ndim == 4
    return [
        {
            "example": int(number),
            "picture": pixels.data_uri(evidence.inputs[number]) if images else None,
            "row": [] if images else [f"{value:.3g}" for value in evidence.inputs[number][:5]],
            "true": names[found.labels[number]],
            "predicted": names[found.predicted[number]],
            "probability": float(found.confidence[number]),
        }
        for number in found.mistakes(_MISTAKES)
    ]


def _differing(series: Sequence[Series]) -> dict[str, list[str]]:
    """The fields of the recipes that are not the same in all, with the value of each."""
    flat = [
        {
            f"{group}.{key}" if group != "recipe" else key: value
            for group, pairs in tables.items()
            for key, value in pairs.items()
        }
        for tables in (words.tables(each.first.recipe) for each in series)
    ]
    keys = dict.fromkeys(key for each in flat for key in each)
    rows = {key: [each.get(key, "–") for each in flat] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _pictures(filters: Filters) -> list[str]:
    paint = pixels.coloured if filters.colours else pixels.signed
    return [pixels.data_uri(paint(picture)) for picture in filters.pictures]


@functools.cache
def _templates() -> jinja2.Environment:
    environment = page.environment(Path(__file__).parent / "templates")
    environment.filters |= {"pictures": _pictures, "matrix": classes.matrix}
    environment.globals |= {"size": chart.SIZE, "speed": words.speed}
    return environment
