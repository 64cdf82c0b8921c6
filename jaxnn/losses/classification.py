"""Losses of one class among several."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Num

from jaxnn.losses.reduction import Loss, Reduction, reduce, require_equal_shapes

Scores = Float[Array, "batch classes"]
Labels = Int[Array, " batch"]
ClassWeights = Float[Array, " classes"]


def nll_loss(
    log_probs: Scores,
    labels: Labels,
    *,
    weight: ClassWeights | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Loss:
    """Negative log-likelihood of the labels; the mean divides by the labels' class weights (PyTorch: nll_loss).

    A label that is neither a class nor ``ignore_index`` gives NaN, where torch raises. Raises ValueError
    for an unknown reduction or shapes that do not fit.
    """
    _require_labels("nll_loss", log_probs, labels, weight)
    weights = label_weights(log_probs, labels, weight, ignore_index)
    return reduce(_nll(log_probs, labels, weights, ignore_index), reduction, weights)


def cross_entropy(
    logits: Scores,
    targets: Labels | Scores,
    *,
    weight: ClassWeights | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Loss:
    """Cross-entropy of softmax(logits) with class numbers or class probabilities (PyTorch: cross_entropy).

    With class numbers the mean divides by the labels' class weights, with probabilities by the number of
    examples. Labels and errors are as for ``nll_loss``; ``ignore_index`` cannot be a class of probabilities.
    """
    if jnp.issubdtype(targets.dtype, jnp.floating):
        require_equal_shapes("cross_entropy", logits, targets)
        _require_class_weights("cross_entropy", logits, weight)
        if ignore_index >= 0:
            raise ValueError(f"cross_entropy: ignore_index {ignore_index} needs class numbers, not probabilities")
        smoothed = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1]
        terms = jax.nn.log_softmax(logits, axis=1) * smoothed
        return reduce(-(terms if weight is None else terms * weight[None, :]).sum(axis=1), reduction)
    _require_labels("cross_entropy", logits, targets, weight)
    log_probs = jax.nn.log_softmax(logits, axis=1)
    weights = label_weights(logits, targets, weight, ignore_index)
    loss = reduce(_nll(log_probs, targets, weights, ignore_index), reduction, weights)
    if not label_smoothing:
        return loss
    spread = -(log_probs if weight is None else log_probs * weight[None, :]).sum(axis=1)
    spread = jnp.where(targets == ignore_index, 0, spread)
    # Each part is reduced by itself, as in torch: where the weights of all labels are 0, the first mean is NaN.
    return (1 - label_smoothing) * loss + (label_smoothing / logits.shape[1]) * reduce(spread, reduction, weights)


def label_weights(scores: Scores, labels: Labels, weight: Array | None, ignore_index: int) -> Float[Array, " batch"]:
    """The class weight of each label (1 without weights), 0 where the label is ignored."""
    if weight is None:
        of_label = jnp.ones_like(scores[:, 0])
    else:
        of_label = jnp.where(_is_label(labels, scores.shape[1]), weight[None, :], 0).sum(axis=1)
    return jnp.where(labels == ignore_index, 0, of_label)


def _nll(log_probs: Scores, labels: Labels, weights: Array, ignore_index: int) -> Float[Array, " batch"]:
    # A mask instead of a gather: its gradient is another mask, where a gather's is a slow scatter.
    is_label = _is_label(labels, log_probs.shape[1])
    picked = jnp.where(is_label, log_probs, 0).sum(axis=1)  # (batch, classes) -> (batch,)
    known = is_label.any(axis=1)
    values = jnp.where(known, -picked * weights, jnp.nan)
    return jnp.where(labels == ignore_index, 0, values)


def _is_label(labels: Labels, classes: int) -> Bool[Array, "batch classes"]:
    return labels[:, None] == jnp.arange(classes, dtype=labels.dtype)[None, :]


def _require_labels(loss: str, scores: Num[Array, "..."], labels: Num[Array, "..."], weight: Array | None) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"{loss}: scores must be (batch, classes) and labels (batch,), but they are {scores.shape}, {labels.shape}"
        )
    _require_class_weights(loss, scores, weight)


def _require_class_weights(loss: str, scores: Num[Array, "..."], weight: Array | None) -> None:
    if weight is not None and weight.shape != scores.shape[1:]:
        raise ValueError(f"{loss}: weight must have one value a class, {scores.shape[1:]}, but it is {weight.shape}")
