"""Under torchrun: what torchref's processes together make of recipes, step by step, written by the first of them.

    torchrun --nproc-per-node N parity_tests/distributed_steps.py FOLDER

FOLDER holds NAME.json, a recipe each; gets NAME.npz, the arrays of jaxnn.parity.recording with the steps as first axis.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn import data
from jaxnn.recipe import Recipe
from torchref import distributed, stepping


def main(folder: Path) -> None:
    with distributed.joined() as ranks:
        for file in sorted(folder.glob("*.json")):
            recipe = Recipe.from_json(file.read_text(), where=str(file))
            assert recipe.dataset is not None
            dataset = data.prepare(data.load(recipe.dataset, seed=recipe.seed), recipe.input)
            steps = list(stepping.steps(recipe, dataset, ranks=ranks))
            if ranks.first:
                np.savez(
                    file.with_suffix(".npz"), **{name: np.stack([step[name] for step in steps]) for name in steps[0]}
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
