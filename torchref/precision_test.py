"""A GPU's TF32, which PyTorch has on for convolutions, is off wherever a run computes, and left to others as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jaxnn.data import Dataset
from jaxnn.recipe import MnistMLP, Recipe
from jaxnn.run_dir import RunDir
from torchref.evaluate import evaluate
from torchref.loop import train
from torchref.prediction import predict

_RECIPE = Recipe(name="test", dataset="rows", model=MnistMLP(hidden=(4, 4)), batch_size=20, epochs=1)

COMPUTES: dict[str, Callable[[Dataset, RunDir], Any]] = {
    "train": lambda images, run: train(_RECIPE, images, run),
    "evaluate": lambda images, run: evaluate(_RECIPE, images, run),
    "predict": lambda images, run: predict(run, images.test.inputs, on_notice=lambda text: None),
}


@pytest.fixture
def allowed() -> Iterator[list[tuple[Any, Any]]]:
    """Whether convolutions and products might use TF32, at each call of a layer; before they may."""
    before, seen = _flags(), []
    _allow(True, True)
    hook = nn.modules.module.register_module_forward_pre_hook(lambda layer, inputs: seen.append(_flags()))
    yield seen
    hook.remove()
    _allow(*before)


def _flags() -> tuple[Any, Any]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def _allow(convolutions: Any, products: Any) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@pytest.mark.parametrize("what", COMPUTES)
def test_no_tf32(what: str, allowed: list[tuple[Any, Any]], images: Dataset, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    if what != "train":
        train(_RECIPE, images, run)
        allowed.clear()
    COMPUTES[what](images, run)
    assert allowed and set(allowed) == {(False, False)}
    assert _flags() == (True, True)
