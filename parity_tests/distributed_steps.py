"""Under torchrun: what torchref's processes together make of recipes, step by step, written by the first of them.

    torchrun --nproc-per-node N parity_tests/distributed_steps.py FOLDER

FOLDER holds NAME.json, a recipe each; gets NAME.npz, the arrays of jaxnn.parity.recording with the steps as first axis.
Of a recipe with local BatchNorm it gets the run NAME, too; and norm-N.npz of ``batch_norm``, and threads.txt, the names
of the threads that this leaves in the first process (on Linux).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from jaxnn import data
from jaxnn.recipe import MnistMLP, Recipe
from jaxnn.run_dir import RunDir
from torchref import distributed, loop, stepping
from torchref.distributed import Ranks

NORMS = (1, 7)  # examples in a batch: an empty share, uneven ones


def batch_norm(ranks: Ranks, examples: int) -> dict[str, np.ndarray]:
    """What BatchNorm makes of a whole batch of images between two other layers, and all gradients."""
    generator = torch.Generator().manual_seed(examples)
    norm = nn.BatchNorm2d(3, dtype=torch.float64)
    images, weights = (torch.randn(examples, 3, 2, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    with torch.no_grad():
        norm.weight.copy_(torch.rand(3, dtype=torch.float64, generator=generator))
        norm.bias.copy_(torch.rand(3, dtype=torch.float64, generator=generator))
    recipe = Recipe(name="norm", dataset=None, model=MnistMLP())
    own = (5 + 3 * ranks.share(images)).requires_grad_()
    model = ranks.parallel(nn.Sequential(norm), recipe)  # it has to live until the gradients are averaged
    outputs = model(own)
    (ranks.size * (outputs.square() * ranks.share(weights)).sum()).backward()
    assert own.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    found = {
        "outputs": ranks.gather([outputs.detach()]),
        "gradient of inputs": ranks.gather([own.grad / ranks.size]),
        "gradient of weight": norm.weight.grad,
        "gradient of bias": norm.bias.grad,
        **{name: buffer for name, buffer in norm.named_buffers()},
    }
    return {name: value.numpy() for name, value in found.items()}


def main(folder: Path) -> None:
    with distributed.joined() as ranks:
        for file in sorted(folder.glob("*.json")):
            recipe = Recipe.from_json(file.read_text(), where=str(file))
            assert recipe.dataset is not None
            dataset = data.prepare(data.load(recipe.dataset, seed=recipe.seed), recipe.input)
            steps = list(stepping.steps(recipe, dataset, ranks=ranks))
            if ranks.first:
                arrays: Any = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
                np.savez(file.with_suffix(".npz"), **arrays)
            if recipe.batch_norm == "local":  # in evaluation every process needs the first one's statistics
                loop.train(recipe, dataset, RunDir(file.with_suffix("")), ranks=ranks)
        for examples in NORMS:
            arrays = batch_norm(ranks, examples)
            if ranks.first:
                np.savez(folder / f"norm-{examples}.npz", **arrays)
    if ranks.first:
        threads = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
        (folder / "threads.txt").write_text("".join(threads))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
