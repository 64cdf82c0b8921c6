"""Every recipe through the toolkit: model, loss, gradients, optimizer, and the steps that `jaxnn train` takes.

Weights, losses, optimizer state and buffers are compared after every step, in the tolerances that
jaxnn.parity.verdict.tolerances states; tabular-mlp, whose inputs of up to 100 make a chaotic training, ends up judged
by how far PyTorch parts from itself.
"""

import pytest

from jaxnn import recipes
from jaxnn.parity.certificate import resolve
from jaxnn.parity.recipe_run import compare_recipe
from jaxnn.recipe import Precision

FAST = ("mnist-mlp", "fashion-mlp-bn", "lenet-3x3")


def _check(name: str, precision: Precision, steps: int) -> None:
    recipe, dataset = resolve(name, dataset=None, data_dir=None, precision=precision, steps=steps)
    report = compare_recipe(recipe, dataset)
    assert report.ok, report.table()
    compared = {entry.level for entry in report.entries}
    assert {"init", "forward", "loss", "gradients", "optimizer", "trajectory"} <= compared
    assert all(len(entry.errors) == steps for entry in report.entries if entry.level in ("optimizer", "trajectory"))


@pytest.mark.parametrize("name", FAST)
def test_fifty_steps(name: str) -> None:
    _check(name, "float64", 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.SMALL)
def test_a_thousand_steps(name: str) -> None:
    _check(name, "float64", 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.SMALL)
def test_float32_stays_within_pytorch_s_own_band(name: str) -> None:
    _check(name, "float32", 300)
