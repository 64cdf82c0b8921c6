"""What comes of many runs: their summary as text, as JSON and as a picture, and what stopped some of them."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnn.cli.arguments import has, value_of
from jaxnn.cli.backends import Outcome
from jaxnn.errors import Ended, NonFiniteLossError, UserError
from jaxnn.files import write_atomically
from jaxnn.run_dir import RunDir
from jaxnn.together import Job


def require_said(argv: list[str]) -> None:
    """Raises UserError if --resume is for the folder of many runs, and ``argv`` does not say which they are."""
    out, named = value_of("--out", argv), bool(argv) and not argv[0].startswith("-")
    several = has("--seeds", argv) or has("--sweep", argv)
    if out is None or not has("--resume", argv) or RunDir(Path(out)).exists() or (named and several):
        return
    patterns = ("seed-*", "*=*", "*=*/seed-*")
    if found := sorted(file.parent for pattern in patterns for file in Path(out).glob(f"{pattern}/recipe.json")):
        raise UserError(
            f"{out} holds several runs: `jaxnn train RECIPE --resume --out {out}` with the --seeds or --sweep of the "
            f"command that began them goes on with all, `jaxnn train --resume --out {found[0]}` with one"
        )


def summary(out: Path, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The last metrics of the run; of several runs their mean and standard deviation, and each one's."""
    results = [
        {"run": str(job.run.path), "seed": job.recipe.seed}
        | (outcome if isinstance(outcome, dict) else {"error": str(outcome)})
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]
    if len(results) == 1:
        return results[0]
    mean, deviation = _mean(outcomes) or (None, None)
    return {"run": str(out), "test_accuracy": mean, "test_accuracy_std": deviation, "runs": results}


def line(out: Path, outcomes: Sequence[Outcome]) -> str | None:
    """The summary as the last line of a command; None if no run came to its end."""
    found, ended = _mean(outcomes), sum(isinstance(outcome, dict) for outcome in outcomes)
    return found and f"{ended} runs in {out}: test accuracy {found[0]:.4f} +- {found[1]:.4f}"


def write(out: Path, jobs: Sequence[Job], outcomes: Sequence[Outcome], *, sweep: str | None) -> None:
    """Writes OUT/summary.json and OUT/curves.png; ``sweep``: FIELD=a,b,c, if there was one."""
    from jaxnn import plots

    write_atomically(out / "summary.json", json.dumps(summary(out, jobs, outcomes), indent=2) + "\n")
    curves = []
    for job in jobs:
        folder = job.run.path.relative_to(out).parts[0]  # FIELD=value, or seed-S
        curves.append(plots.Curve(folder.partition("=")[2] or None, job.run.read_metrics()))
    field = None if sweep is None else sweep.partition("=")[0].replace("-", "_")
    figure = plots.training_curves(f"{jobs[0].recipe.name} on {jobs[0].dataset.name}", curves, swept=field)
    write_atomically(out / "curves.png", plots.png(figure))


def interrupted(out: Path, *, step: int | None = None) -> str:
    after = "" if step is None else f" after step {step}"
    return f"interrupted{after}; the same command with --resume --out {out} goes on there"


def require_all(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Raises what ends the command, if a run stopped before its end."""
    stopped = [
        (job.run.path, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if isinstance(outcome, Exception)
    ]
    if not stopped:
        return
    if len(jobs) == 1:
        raise stopped[0][1]
    paths: dict[str, list[str]] = {}
    for path, outcome in stopped:
        brief = outcome.brief if isinstance(outcome, NonFiniteLossError) else str(outcome)
        paths.setdefault(brief, []).append(str(path))
    raise Ended("; ".join(f"{', '.join(where)}: {why}" for why, where in paths.items()), 1)


def _mean(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    values = [outcome["test_accuracy"] for outcome in outcomes if isinstance(outcome, dict)]
    if not values:
        return None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
