"""Optimizers and gradient clipping with the semantics of torch.optim and torch.nn.utils."""

from jaxnn.optim.clipping import clip, clip_grad_norm, clip_grad_value
from jaxnn.optim.definitions import build
from jaxnn.optim.rule import Rule, State, unless_skipped
from jaxnn.optim.transformations import adagrad, adam, adamw, nadam, rmsprop, sgd

__all__ = [
    "Rule",
    "State",
    "adagrad",
    "adam",
    "adamw",
    "build",
    "clip",
    "clip_grad_norm",
    "clip_grad_value",
    "nadam",
    "rmsprop",
    "sgd",
    "unless_skipped",
]
