"""The recipes as written: test accuracy in PyTorch's range, and equal to torchref's from the same seeds.

Same seed, same run: in float64 both frameworks end at the same accuracy. In float32 rounding drives them apart, as
it drives PyTorch from itself, and the claim is statistical: equivalence over 20 pairs of runs.

Cases on the recipes' real data sets need JAXNN_TEST_DATA to name their folder, and about two hours on two cores;
``--log-cli-level=INFO`` shows each run as it ends.
"""

import functools
import logging
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import torchref.loop
from jaxnn import data, loop, recipes
from jaxnn.recipe import Precision
from jaxnn.run_dir import RunDir
from parity_tests.equivalence import tost

pytestmark = pytest.mark.slow
DATA = os.environ.get("JAXNN_TEST_DATA")
SEEDS = (420, *range(19))
FLOAT64_TOLERANCE = 0.001  # 0.1 points
FLOAT32_MARGIN = 0.005  # 0.5 points
LOG = logging.getLogger(__name__)


class Case(NamedTuple):
    """A recipe, the data set in place of its real one, and the range of PyTorch's mean test accuracy."""

    recipe: str
    dataset: str | None = None
    low: float = 0.0
    high: float = 1.0

    @property
    def title(self) -> str:
        return f"{self.recipe} on {self.dataset}" if self.dataset else self.recipe


# The cheap ones first.
TRAINED_IN_FULL = [
    Case("breast-cancer", "breast-cancer", 0.94, 0.99),
    Case("mnist-mlp", "digits", 0.95, 0.98),
    Case("fashion-mlp", None, 0.865, 0.880),
    Case("fashion-mlp-bn", None, 0.870, 0.895),
    Case("mnist-mlp", None, 0.960, 0.975),
    Case("fashion-mlp-512", None, 0.55, 0.68),
    Case("cifar-cnn", None, 0.52, 0.56),
]
ALL = [*TRAINED_IN_FULL, Case("lenet"), Case("lenet-3x3")]


def _parameters(cases: list[Case]) -> list[object]:
    missing = pytest.mark.skipif(DATA is None, reason="JAXNN_TEST_DATA does not name a folder with the real data sets")
    return [pytest.param(case, id=case.title, marks=() if case.dataset else missing) for case in cases]


@functools.cache
def _dataset(case: Case) -> data.Dataset:
    recipe = recipes.get(case.recipe, dataset=case.dataset)
    return data.prepare(data.load(recipe.dataset, data_dir=None if case.dataset else DATA), recipe.input)


@functools.cache
def accuracy(framework: str, case: Case, seed: int, precision: Precision) -> float:
    recipe = recipes.get(case.recipe, dataset=case.dataset).replace(seed=seed, precision=precision, log_every=None)
    train = loop.train if framework == "jax" else torchref.loop.train
    with tempfile.TemporaryDirectory() as folder:
        row = train(recipe, _dataset(case), RunDir(Path(folder) / "run"))
    LOG.info(
        "%s, %s, %s, seed %d: test accuracy %.4f, %.0f examples/s",
        *(case.title, framework, precision, seed, row["test_accuracy"], row["examples_per_second"]),
    )
    return row["test_accuracy"]


@pytest.mark.parametrize("case", _parameters(TRAINED_IN_FULL))
def test_accuracy_is_in_pytorch_s_range(case: Case) -> None:
    # The mean of three seeds: a single one is now and then an image or two outside of what PyTorch's few seeds gave.
    reached = [accuracy("jax", case, seed, "float32") for seed in SEEDS[:3]]
    assert case.low <= np.mean(reached) <= case.high, reached


@pytest.mark.parametrize("case", _parameters(ALL))
def test_float64_accuracy_is_torchref_s(case: Case) -> None:
    pair = [accuracy(framework, case, SEEDS[0], "float64") for framework in ("jax", "torch")]
    assert abs(pair[0] - pair[1]) <= FLOAT64_TOLERANCE, pair


@pytest.mark.parametrize("case", _parameters(TRAINED_IN_FULL))
def test_float32_accuracy_is_equivalent_to_torchref_s(case: Case) -> None:
    pairs = [[accuracy(framework, case, seed, "float32") for framework in ("jax", "torch")] for seed in SEEDS]
    ours, theirs = np.array(pairs).T
    result = tost(ours, theirs, margin=FLOAT32_MARGIN)
    LOG.info(
        "%s: paired difference %+.5f, 90 %% interval %+.5f to %+.5f, largest %.5f",
        *(case.title, result.mean, result.low, result.high, np.abs(ours - theirs).max()),
    )
    assert result.holds, (result, pairs)
