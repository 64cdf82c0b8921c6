"""Losses with the semantics of torch.nn.functional: options, reductions, edges and gradients."""

from jaxnn.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from jaxnn.losses.classification import cross_entropy, nll_loss
from jaxnn.losses.divergence import kl_div
from jaxnn.losses.objective import Objective, build, predictions
from jaxnn.losses.reduction import Reduction
from jaxnn.losses.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss, sse_loss, sum_loss

__all__ = [
    "Objective",
    "Reduction",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "build",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "predictions",
    "smooth_l1_loss",
    "sse_loss",
    "sum_loss",
]
