"""A recipe's loss as torch.nn.functional computes it, and per example for evaluation."""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from jaxnn.recipe import Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]


def build(loss: Loss, *, classes: int) -> LossFunction:
    """A function of outputs (batch, outputs) and class numbers (batch,) int64 that gives the loss of the batch.

    nll, cross_entropy: torch.nn.NLLLoss and CrossEntropyLoss. mse, sse: against one-hot targets, the
    mean over examples and outputs, and over examples alone. sum: (outputs - one_hot).sum() whatever the
    reduction. bce, bce_with_logits: the model has one output, the log-odds of class 1, which ``bce``
    puts through a sigmoid before torch.nn.BCELoss; so the model ends in a linear layer for both.
    Raises UserError if the loss does not fit the number of classes.
    """
    loss.require_classes(classes)
    return functools.partial(_FUNCTIONS[loss.name], loss, loss.reduction)


def per_example(loss: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    """The loss of each example, (batch,): class weights applied, mse averaged and sse summed over the outputs."""
    values = _FUNCTIONS[loss.name](loss, "none", outputs, labels)
    if values.ndim == 1:
        return values
    return values.mean(1) if loss.name == "mse" else values.sum(1)


def mean(loss: Loss, values: Tensor, labels: Tensor) -> float:
    """The mean over examples of per_example's ``values`` as the loss's reduction means it, summed in float64.

    nll and cross_entropy with reduction mean divide by the sum of the examples' weights (torch.nn.NLLLoss).
    """
    count = len(labels) if loss.summed else _counted(loss, labels)
    return (values.double().sum() / count).item()


def share(loss: Loss, batch: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
    """What some examples, perhaps none, add to the loss of their whole batch, whose class numbers are ``batch``."""
    total = _FUNCTIONS[loss.name](loss, "sum", outputs, labels)
    if loss.summed:
        return total
    values = outputs.shape[1] if loss.name == "mse" else 1  # of an example
    return total / (values * _counted(loss, batch)).to(total.dtype)


def _counted(loss: Loss, labels: Tensor) -> Tensor:
    """The number of examples that a mean is taken over; of nll and cross_entropy the sum of their weights."""
    if loss.name not in ("nll", "cross_entropy"):
        return labels.new_tensor(len(labels))
    counted = labels != loss.ignore_index
    if loss.weight is None:
        return counted.sum()
    weight = torch.tensor(loss.weight, dtype=torch.float64, device=labels.device)
    return weight[labels[counted]].sum()


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, outputs.shape[1]).to(outputs.dtype)


def _weight(loss: Loss, outputs: Tensor) -> Tensor | None:
    return None if loss.weight is None else outputs.new_tensor(loss.weight)


def _nll(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    weight = _weight(loss, outputs)
    return F.nll_loss(outputs, labels, weight=weight, ignore_index=loss.ignore_index, reduction=reduction)


def _cross_entropy(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(
        outputs,
        labels,
        weight=_weight(loss, outputs),
        ignore_index=loss.ignore_index,
        reduction=reduction,
        label_smoothing=loss.label_smoothing,
    )


def _mse(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(outputs, _one_hot(outputs, labels), reduction=reduction)


def _sse(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    if reduction == "mean":
        return _mse(loss, "sum", outputs, labels) / len(labels)
    return _mse(loss, reduction, outputs, labels)


def _sum(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    differences = outputs - _one_hot(outputs, labels)
    return differences if reduction == "none" else differences.sum()


def _bce(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    probabilities = torch.sigmoid(outputs.squeeze(1))
    return F.binary_cross_entropy(probabilities, labels.to(outputs.dtype), reduction=reduction)


def _bce_with_logits(loss: Loss, reduction: str, outputs: Tensor, labels: Tensor) -> Tensor:
    pos_weight = None if loss.pos_weight is None else outputs.new_tensor(loss.pos_weight)
    return F.binary_cross_entropy_with_logits(
        outputs.squeeze(1), labels.to(outputs.dtype), pos_weight=pos_weight, reduction=reduction
    )


_FUNCTIONS: dict[str, Callable[[Loss, str, Tensor, Tensor], Tensor]] = {
    "nll": _nll,
    "cross_entropy": _cross_entropy,
    "mse": _mse,
    "sse": _sse,
    "sum": _sum,
    "bce": _bce,
    "bce_with_logits": _bce_with_logits,
}
