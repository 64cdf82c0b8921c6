"""The same command twice gives the same bits: every number of metrics.jsonl but the times, and every weight.

The second command finds the first one's compiled programs and decoded data.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxnn.cli import backends
from jaxnn.run_dir import RunDir

Bits = dict[str, tuple[list[dict[str, object]], dict[str, tuple[str, bytes]]]]
"""Of each run: its rows without the times, and type and bytes of each tensor of its state_dict."""

DIGITS = ("--dataset", "digits", "--epochs", "1")
TORCH = ("--framework", "torch")
CASES: dict[str, tuple[str, ...]] = {
    "dropout, many steps in one program": ("mnist-mlp", *DIGITS, "--model.dropout", "0.2"),
}
SLOW: dict[str, tuple[str, ...]] = {
    "a program a step": ("mnist-mlp", *DIGITS, "--dispatch", "step"),
    "streamed, cropped and flipped": (
        *("mnist-mlp", *DIGITS, "--memory-limit", "0", "--augment.crop", "2", "--augment.flip"),
    ),
    "three seeds together": ("breast-cancer", "--epochs", "3", "--seeds", "3"),
    "BatchNorm": ("fashion-mlp-bn", *DIGITS),
    "convolutions": ("cifar-cnn", *DIGITS),
    "convolutions, float64": ("lenet", *DIGITS, "--precision", "float64"),
    "bfloat16": ("fashion-mlp", *DIGITS, "--precision", "bfloat16"),
    "ResNet": ("resnet18", "--dataset", "digits", "--input.size", "32", "--batch-size", "16", "--steps", "3"),
    "JAX's own streams": ("mnist-mlp", *DIGITS, "--rng", "jax", "--model.dropout", "0.2"),
    "PyTorch, dropout": ("mnist-mlp", *DIGITS, "--batch-size", "64", "--model.dropout", "0.2", *TORCH),
    "PyTorch, BatchNorm": ("fashion-mlp-bn", *DIGITS, *TORCH),
    "PyTorch, convolutions": ("cifar-cnn", *DIGITS, "--batch-size", "16", *TORCH),
}


def _train(out: Path, *options: str) -> Bits:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XLA", "NPROC", "OMP"))}
    command = [sys.executable, "-m", "jaxnn", "train", *options, "--out", str(out)]
    cache = {"JAXNN_CACHE_DIR": str(out.parent / "cache")}
    subprocess.run(command, env=own | cache, check=True, stdout=subprocess.DEVNULL)
    return {str(file.parent.relative_to(out)): _bits(RunDir(file.parent)) for file in out.rglob("recipe.json")}


def _bits(run: RunDir) -> tuple[list[dict[str, object]], dict[str, tuple[str, bytes]]]:
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    timed = {"seconds", "examples_per_second"}
    recipe, framework = run.read_recipe()
    weights = backends.weights(framework, recipe, run, lambda _: None)
    tensors = {name: np.asarray(value) for name, value in weights.items()}
    return (
        [{name: value for name, value in row.items() if name not in timed} for row in rows],
        {name: (str(value.dtype), value.tobytes()) for name, value in tensors.items()},
    )


@pytest.mark.parametrize(
    "options",
    [
        *(pytest.param(case, id=name) for name, case in CASES.items()),
        *(pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()),
    ],
)
def test_the_same_command_gives_the_same_bits(options: tuple[str, ...], tmp_path: Path) -> None:
    first, second = (_train(tmp_path / name, *options) for name in ("first", "second"))
    assert first and all(rows and weights for rows, weights in first.values())
    assert first == second
