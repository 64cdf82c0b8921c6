"""PyTorch eager: torchref's training step on data that lie in memory as tensors; and that step by torch.compile."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jaxnn.data import Dataset
from jaxnn.recipe import Recipe
from torchref import evaluate, order, precision, state, tensors
from torchref.recorder import Variation, move_by_an_ulp
from torchref.step import normalize, train_step

from .prepared import Arrays, Prepared


def prepare(recipe: Recipe, dataset: Dataset, variation: Variation | None = None) -> Prepared:
    """Trains over the full batches of the first epoch, again and again; ``variation``: with other roundings."""
    return _prepare(recipe, dataset, variation or Variation(), lambda step: step)


def prepare_compiled(recipe: Recipe, dataset: Dataset) -> Prepared:
    """The same step compiled whole: forward, backward and the optimizer's update."""
    return _prepare(recipe, dataset, Variation(), torch.compile)


def prepare_evaluation(recipe: Recipe, dataset: Dataset) -> Prepared:
    """Evaluates the test split with the weights that the seed draws."""
    device = precision.device()
    model = state.start(recipe, dataset, device, state.plan(recipe, len(dataset.train))).model
    examples = tensors.load(dataset.test, device)

    def measure() -> dict[str, Any]:
        return evaluate.measure(model, recipe, examples, len(dataset.classes))

    def run(passes: int) -> np.ndarray:
        return np.array([measure()["loss"] for _ in range(passes)])

    return Prepared(run, lambda: {"confusion": np.asarray(measure()["confusion"], np.float64)})


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parameters_of(model: torch.nn.Module) -> Arrays:
    return {name: value.detach().cpu().numpy().copy() for name, value in model.named_parameters()}


def _prepare(
    recipe: Recipe, dataset: Dataset, variation: Variation, transform: Callable[[Callable[..., Any]], Any]
) -> Prepared:
    device = precision.device()
    run_state = state.start(recipe, dataset, device, state.plan(recipe, len(dataset.train)))
    if variation.ulp is not None:
        move_by_an_ulp(run_state.model, variation.ulp)
    inputs, labels = tensors.load(dataset.train, device)
    size = min(recipe.batch_size or len(labels), len(labels))
    torch.set_rng_state(run_state.epoch_rng)
    batches = order.draw(len(labels), batch_size=size, shuffle=recipe.shuffle, drop_last=True, device=device)
    if variation.reverse:
        batches = tuple(batch.flip(0) for batch in batches)
    dtype = precision.dtype(recipe.precision)

    def step(x: Tensor, y: Tensor) -> Tensor:
        x = normalize(x, recipe.input, dtype)
        return train_step(run_state.model, run_state.optimizer, run_state.loss, recipe.clip, x, y)[0]

    one_step = transform(step)
    done = 0

    def run(steps: int) -> np.ndarray:
        nonlocal done
        values = []
        for _ in range(steps):
            batch = batches[done % len(batches)]
            values.append(one_step(inputs[batch], labels[batch]))
            done += 1
        wait(device)
        return torch.stack(values).cpu().numpy()

    return Prepared(run, lambda: parameters_of(run_state.model))
