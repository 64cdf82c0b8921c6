"""``python -m benchmarks.runs_together``: `jaxnn train R --seeds K` against K commands with one seed each.

Both are timed as a user has them: the seconds of training alone that metrics.jsonl states, and those of the whole
command, which also starts, compiles, evaluates and saves. The commands take turns.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from .timing import quartiles

CASES = {
    "tabular-mlp": ("--steps", "300"),
    "breast-cancer": ("--epochs", "50"),
    "mnist-mlp": ("--dataset", "digits"),
}


@dataclass(frozen=True)
class Options:
    """Measure runs that are trained together."""

    runs: int = 16
    rounds: int = 5


class Seconds(NamedTuple):
    training: float
    command: float


def main() -> None:
    options = tyro.cli(Options)
    print("| recipe | training, times as fast | one command, s | so many commands, s |\n|---|---|---|---|")
    for recipe, arguments in CASES.items():
        alone, together = [], []
        for _ in range(options.rounds):
            alone.append(_train(recipe, arguments, 1))
            together.append(_train(recipe, arguments, options.runs))
        ratios = options.runs * np.array([a.training / b.training for a, b in zip(alone, together, strict=True)])
        low, middle, high = quartiles(ratios)
        one, many = (float(np.median([each.command for each in found])) for found in (together, alone))
        print(f"| {recipe} | {middle:.2f} [{low:.2f}-{high:.2f}] | {one:.1f} | {options.runs * many:.1f} |", flush=True)


def _train(recipe: str, arguments: tuple[str, ...], seeds: int) -> Seconds:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxnn", "train", recipe, *arguments, "--out", folder]
        began = time.perf_counter()
        subprocess.run(  # nosec B603  # this interpreter, our own arguments
            command if seeds == 1 else [*command, "--seeds", str(seeds)], check=True, stdout=subprocess.DEVNULL
        )
        taken = time.perf_counter() - began
        metrics = min(Path(folder).rglob("metrics.jsonl"))  # of runs together, each states the seconds of all
        return Seconds(sum(json.loads(row)["seconds"] for row in metrics.read_text().splitlines()), taken)


if __name__ == "__main__":
    main()
