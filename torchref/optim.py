"""A recipe's optimizer and gradient clipping, straight from torch."""

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
