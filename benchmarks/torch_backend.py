"""PyTorch eager: torchref's training step on data that lie in memory as tensors."""

from collections.abc import Callable

import numpy as np
import torch

from jaxnn.data import Dataset
from jaxnn.recipe import Recipe
from torchref import order, precision, state, tensors
from torchref.step import normalize, train_step


def prepare(recipe: Recipe, dataset: Dataset) -> tuple[Callable[[int], np.ndarray], float]:
    """``run(steps)`` trains on and returns the loss of each step; nothing is compiled."""
    device = precision.device()
    plan = state.plan(recipe, len(dataset.train))
    run_state = state.start(recipe, dataset, device, plan)
    inputs, labels = tensors.load(dataset.train, device)
    size = recipe.batch_size or len(dataset.train)
    torch.set_rng_state(run_state.epoch_rng)
    batches = order.draw(len(labels), batch_size=size, shuffle=recipe.shuffle, drop_last=True, device=device)
    done = 0

    def run(steps: int) -> np.ndarray:
        nonlocal done
        values = []
        for _ in range(steps):
            batch = batches[done % len(batches)]
            x = normalize(inputs[batch], recipe.input, precision.dtype(recipe.precision))
            values.append(
                train_step(run_state.model, run_state.optimizer, run_state.loss, recipe.clip, x, labels[batch])[0]
            )
            done += 1
        return torch.stack(values).cpu().numpy()  # waits for the device

    return run, 0.0
