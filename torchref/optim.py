"""A recipe's optimizer and gradient clipping, straight from torch."""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from jaxnn.recipe import Clip, Optimizer

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}

_COUNTERS = {"step", "mu_product"}  # what an optimizer's state knows of the number of steps


def build(parameters: Iterable[nn.Parameter], optimizer: Optimizer) -> torch.optim.Optimizer:
    """The torch.optim optimizer that the recipe names, with its options."""
    options = optimizer.options | {"lr": optimizer.learning_rate}
    return _OPTIMIZERS[optimizer.name](parameters, **options)


def clip(parameters: Iterable[nn.Parameter], clip: Clip) -> None:
    """Clips the gradients in place: torch.nn.utils.clip_grad_norm_ or clip_grad_value_."""
    if clip.norm is not None:
        clip_grad_norm_(parameters, clip.norm)
    if clip.value is not None:
        clip_grad_value_(parameters, clip.value)


def skip(optimizer: torch.optim.Optimizer) -> None:
    """Counts a step of ``optimizer`` that changes neither parameters nor moments."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    values = [p.detach().clone() for p in parameters]
    moments = {p: {name: copy.deepcopy(x) for name, x in optimizer.state[p].items()} for p in parameters}
    with torch.no_grad():
        for p in parameters:
            p.zero_()  # nor has weight decay anything to work on
            p.grad = torch.zeros_like(p)
    optimizer.step()
    with torch.no_grad():
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)
            kept = {name: x for name, x in moments[p].items() if name not in _COUNTERS}
            optimizer.state[p].update(kept)
