"""What the gate allows: a multiple of PyTorch eager's distance from itself over the same steps.

Full precision: from weights moved by one unit in the last place (three times), by another number of threads, and with
the examples of each batch in reverse; ten times the largest distance, as in jaxnn.parity. What Adam's bias correction
in float32 may cost (jaxnn.parity.verdict.tolerances) is added: optax takes it so.

Lowered precision (bfloat16, TF32): those variations hardly change which way a product is rounded, so the distance is
that from the same training without lowering, which is what the precision costs: of the losses, and of the ways that the
parameters have gone, in the Euclidean norm, the largest share for all, since a tensor of a few numbers may be near by
chance and single gradients around zero (an activation switched, Adam's sign) are off by their whole size. A right
implementation pays as much, independently; within twice PyTorch's own cost it is within three times of
PyTorch. Whatever costs less than the precision, such as a learning rate off by 1 %, cannot be seen in it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from jaxnn.data import Dataset
from jaxnn.parity.verdict.judge import BAND_FACTOR
from jaxnn.parity.verdict.tolerances import tolerances
from jaxnn.recipe import FashionMLP, Recipe
from torchref.recorder import Variation

from .gate import Allowed, Observed, errors, scale
from .rivals.prepared import Prepared
from .rivals.torch_backend import prepare

LOWERED_FACTOR = 3
_NEARLY_THE_WHOLE_WAY = 0.9  # a parameter that is not updated is off by 1
_EVALUATION = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2.0**-7}  # of one forward pass; bfloat16: two roundings


def training(recipe: Recipe, dataset: Dataset, steps: int, *, tf32: bool = False) -> Allowed:
    """How far the losses of ``steps`` steps, and the parameters after them, may be apart."""
    base, ways = _watched(lambda: prepare(recipe, dataset), steps)
    if recipe.precision == "bfloat16" or (tf32 and torch.cuda.is_available()):
        start = prepare(recipe, dataset).parameters()
        cost = errors(_exact(recipe, dataset, steps), base, start)
        largest = max(value for name, value in cost.items() if name != "loss")
        limit = min(LOWERED_FACTOR * largest, _NEARLY_THE_WHOLE_WAY)
        return Allowed({**dict.fromkeys(ways, limit), "loss": LOWERED_FACTOR * cost["loss"]}, start)
    batch_norm = isinstance(recipe.model, FashionMLP) and recipe.model.batch_norm
    optimizer = recipe.optimizer.options | {"name": recipe.optimizer.name}
    stated = tolerances(recipe.precision, batch_norm=batch_norm, optimizer=optimizer)
    smallest = float(np.finfo(recipe.precision).eps)
    band: dict[str, float] = {}
    for variation in _variations():
        for name, value in errors(_observed(recipe, dataset, variation, steps), base).items():
            band[name] = max(band.get(name, smallest), value)
    allowed = {name: BAND_FACTOR * value + stated.scalars * ways.get(name, 0.0) for name, value in band.items()}
    if recipe.precision == "float64":
        allowed = {name: max(value, stated.trajectory) for name, value in allowed.items()}
    return Allowed(allowed)


def evaluation(recipe: Recipe) -> Allowed:
    """For one pass over a split: the mean loss, and of the confusion matrix nothing but for bfloat16's near ties."""
    confusion = 0.02 if recipe.precision == "bfloat16" else 0.0
    return Allowed({"loss": _EVALUATION[recipe.precision], "confusion": confusion})


def _variations() -> list[Variation]:
    threads = 1 if torch.get_num_threads() > 1 else 2
    return [*(Variation(ulp=seed) for seed in (1, 2, 3)), Variation(threads=threads), Variation(reverse=True)]


def _observed(recipe: Recipe, dataset: Dataset, variation: Variation, steps: int) -> Observed:
    before = torch.get_num_threads()
    torch.set_num_threads(variation.threads or before)
    try:
        prepared = prepare(recipe, dataset, variation)
        return Observed(prepared.run(steps), prepared.parameters())
    finally:
        torch.set_num_threads(before)


def _watched(make: Callable[[], Prepared], steps: int) -> tuple[Observed, dict[str, float]]:
    """The steps, and how far each parameter went on them, as a share of its magnitude."""
    prepared = make()
    losses, before = [], prepared.parameters()
    ways = dict.fromkeys(before, 0.0)
    for _ in range(steps):
        losses.append(prepared.run(1))
        after = prepared.parameters()
        ways = {name: way + float(np.abs(after[name] - before[name]).max()) for name, way in ways.items()}
        before = after
    return Observed(np.concatenate(losses), before), {name: way / scale(before[name]) for name, way in ways.items()}


def _exact(recipe: Recipe, dataset: Dataset, steps: int) -> Observed:
    """The same training in full float32."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        return _observed(recipe.replace(precision="float32"), dataset, Variation(), steps)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
