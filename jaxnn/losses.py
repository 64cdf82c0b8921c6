"""Losses with the semantics of torch.nn.functional: options, reductions, edges and gradients."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Num, Shaped

from jaxnn import recipe

Reduction = Literal["none", "mean", "sum"]
Scores = Float[Array, "batch classes"]
Labels = Int[Array, " batch"]
ClassWeights = Float[Array, " classes"]
Loss = Float[Array, "*batch"]


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
    weights = _label_weights(log_probs, labels, weight, ignore_index)
    return _reduce(_nll(log_probs, labels, weights, ignore_index), reduction, weights)


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
        _require_equal_shapes("cross_entropy", logits, targets)
        _require_class_weights("cross_entropy", logits, weight)
        if ignore_index >= 0:
            raise ValueError(f"cross_entropy: ignore_index {ignore_index} needs class numbers, not probabilities")
        smoothed = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1]
        terms = jax.nn.log_softmax(logits, axis=1) * smoothed
        return _reduce(-(terms if weight is None else terms * weight[None, :]).sum(axis=1), reduction)
    _require_labels("cross_entropy", logits, targets, weight)
    log_probs = jax.nn.log_softmax(logits, axis=1)
    weights = _label_weights(logits, targets, weight, ignore_index)
    values = _nll(log_probs, targets, weights, ignore_index)
    if label_smoothing:
        spread = -(log_probs if weight is None else log_probs * weight[None, :]).sum(axis=1)
        spread = jnp.where(targets == ignore_index, 0, spread)
        values = (1 - label_smoothing) * values + (label_smoothing / logits.shape[1]) * spread
    return _reduce(values, reduction, weights)


def mse_loss(
    outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, reduction: Reduction = "mean"
) -> Loss:
    """Squared error of every element, averaged over all of them by "mean" (PyTorch: mse_loss)."""
    _require_equal_shapes("mse_loss", outputs, targets)
    return _reduce(jnp.square(outputs - targets), reduction)


def sse_loss(outputs: Scores, targets: Scores, *, reduction: Reduction = "sum") -> Loss:
    """Squared errors summed over the outputs of each example; the reduction is over examples."""
    _require_equal_shapes("sse_loss", outputs, targets)
    return _reduce(jnp.square(outputs - targets).sum(axis=1), reduction)


def sum_loss(outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The plain sum (outputs - targets).sum(): not a loss to learn from, but the simplest gradient there is."""
    _require_equal_shapes("sum_loss", outputs, targets)
    return (outputs - targets).sum()


def binary_cross_entropy(
    probs: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*any"] | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Cross-entropy of probabilities, logarithms clamped at -100 (PyTorch: binary_cross_entropy).

    ``weight`` broadcasts against the values; the mean is over elements, whatever the weights.
    """
    _require_equal_shapes("binary_cross_entropy", probs, targets)
    values = _bernoulli_nll(probs, targets)
    return _reduce(_weighted(values, weight), reduction)


def binary_cross_entropy_with_logits(
    logits: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    *,
    weight: Float[Array, "*any"] | None = None,
    pos_weight: Float[Array, "*other"] | float | None = None,
    reduction: Reduction = "mean",
) -> Loss:
    """Cross-entropy of sigmoid(logits); ``pos_weight`` scales class 1 (PyTorch: binary_cross_entropy_with_logits)."""
    _require_equal_shapes("binary_cross_entropy_with_logits", logits, targets)
    log_sigmoid = jax.nn.log_sigmoid(logits)
    if pos_weight is not None:
        log_sigmoid = (1 + jnp.broadcast_to(pos_weight - 1, targets.shape) * targets) * log_sigmoid
    values = (1 - targets) * logits - log_sigmoid
    return _reduce(_weighted(values, weight), reduction)


class Objective(NamedTuple):
    """A recipe's loss as training and evaluation need it; both take (outputs, int32 class numbers).

    ``value``: a scalar, by the recipe's reduction. ``per_example``: values and weights of shape (batch,),
    whose sums over a data set give its mean loss: sum(values) / sum(weights).
    """

    value: Callable[[Scores, Labels], Float[Array, ""]]
    per_example: Callable[[Scores, Labels], tuple[Float[Array, " batch"], Float[Array, " batch"]]]


def build(loss: recipe.Loss, *, classes: int) -> Objective:
    """The objective of a recipe; binary losses want one output a row: the log-odds of class 1, also for ``bce``.

    ``mse``, ``sse`` and ``sum`` compare with one-hot rows; ``sse`` reduces over examples, ``sum`` always sums.
    """

    def class_weights(outputs: Scores) -> ClassWeights | None:
        return None if loss.weight is None else jnp.asarray(loss.weight, outputs.dtype)

    def targets(outputs: Scores, labels: Labels) -> Scores:
        if loss.binary:
            return labels[:, None].astype(outputs.dtype)
        return jax.nn.one_hot(labels, classes, dtype=outputs.dtype)

    def measure(outputs: Scores, labels: Labels, reduction: Reduction) -> Loss:
        match loss.name:
            case "nll":
                options = {"weight": class_weights(outputs), "ignore_index": loss.ignore_index}
                return nll_loss(outputs, labels, **options, reduction=reduction)
            case "cross_entropy":
                options = {"weight": class_weights(outputs), "ignore_index": loss.ignore_index}
                options["label_smoothing"] = loss.label_smoothing
                return cross_entropy(outputs, labels, **options, reduction=reduction)
            case "bce":
                return binary_cross_entropy(jax.nn.sigmoid(outputs), targets(outputs, labels), reduction=reduction)
            case "bce_with_logits":
                return binary_cross_entropy_with_logits(
                    outputs, targets(outputs, labels), pos_weight=loss.pos_weight, reduction=reduction
                )
            case "mse":
                return mse_loss(outputs, targets(outputs, labels), reduction=reduction)
            case "sse":
                return sse_loss(outputs, targets(outputs, labels), reduction=reduction)
            case "sum":
                return sum_loss(outputs, targets(outputs, labels))

    def value(outputs: Scores, labels: Labels) -> Float[Array, ""]:
        return measure(outputs, labels, loss.reduction)

    def per_example(outputs: Scores, labels: Labels) -> tuple[Loss, Loss]:
        if loss.name == "sum":
            values = jax.vmap(sum_loss)(outputs, targets(outputs, labels))
        else:
            values = measure(outputs, labels, "none")
        if values.ndim == 2:
            values = values.mean(axis=1)  # (batch, outputs) -> (batch,)
        if loss.name in ("nll", "cross_entropy") and not loss.summed:
            return values, _label_weights(outputs, labels, class_weights(outputs), loss.ignore_index)
        return values, jnp.ones_like(values)

    return Objective(value, per_example)


def predictions(outputs: Scores) -> Int[Array, " batch"]:
    """Class numbers: the first largest output, or for a single output (log-odds) whether it is above 0."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=1).astype(jnp.int32)


def _nll(log_probs: Scores, labels: Labels, weights: Array, ignore_index: int) -> Float[Array, " batch"]:
    # A mask instead of a gather: its gradient is another mask, where a gather's is a slow scatter.
    is_label = _is_label(labels, log_probs.shape[1])
    picked = jnp.where(is_label, log_probs, 0).sum(axis=1)  # (batch, classes) -> (batch,)
    known = is_label.any(axis=1)
    values = jnp.where(known, -picked * weights, jnp.nan)
    return jnp.where(labels == ignore_index, 0, values)


def _label_weights(scores: Scores, labels: Labels, weight: Array | None, ignore_index: int) -> Float[Array, " batch"]:
    """The class weight of each label (1 without weights), 0 where the label is ignored."""
    if weight is None:
        of_label = jnp.ones_like(scores[:, 0])
    else:
        of_label = jnp.where(_is_label(labels, scores.shape[1]), weight[None, :], 0).sum(axis=1)
    return jnp.where(labels == ignore_index, 0, of_label)


def _is_label(labels: Labels, classes: int) -> Bool[Array, "batch classes"]:
    return labels[:, None] == jnp.arange(classes, dtype=labels.dtype)[None, :]


def _weighted(values: Array, weight: Array | None) -> Array:
    return values if weight is None else values * jnp.broadcast_to(weight, values.shape)


@jax.custom_vjp
def _bernoulli_nll(probs: Array, targets: Array) -> Array:
    return (targets - 1) * jnp.maximum(jnp.log1p(-probs), -100) - targets * jnp.maximum(jnp.log(probs), -100)


def _bernoulli_nll_forward(probs: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bernoulli_nll(probs, targets), (probs, targets)


def _bernoulli_nll_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # torch's own gradient: finite at 0 and 1, and not that of the clamped logarithm, which is 0 there.
    probs, targets = saved
    smallest = jnp.asarray(1e-12, jnp.float32).astype(probs.dtype)  # torch keeps this constant as a C float
    slope = (probs - targets) / jnp.maximum(probs * (1 - probs), smallest)
    return cotangent * slope, cotangent * (jnp.log1p(-probs) - jnp.log(probs))


_bernoulli_nll.defvjp(_bernoulli_nll_forward, _bernoulli_nll_backward)


def _reduce(values: Array, reduction: Reduction, weights: Array | None = None) -> Array:
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "mean":
        return values.mean() if weights is None else values.sum() / weights.sum()
    raise ValueError(f"reduction must be 'none', 'mean' or 'sum', but it is {reduction!r}")


def _require_equal_shapes(loss: str, outputs: Shaped[Array, "..."], targets: Shaped[Array, "..."]) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(f"{loss}: outputs and targets must have one shape, but have {outputs.shape}, {targets.shape}")


def _require_labels(loss: str, scores: Num[Array, "..."], labels: Num[Array, "..."], weight: Array | None) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"{loss}: scores must be (batch, classes) and labels (batch,), but they are {scores.shape}, {labels.shape}"
        )
    _require_class_weights(loss, scores, weight)


def _require_class_weights(loss: str, scores: Num[Array, "..."], weight: Array | None) -> None:
    if weight is not None and weight.shape != scores.shape[1:]:
        raise ValueError(f"{loss}: weight must have one value a class, {scores.shape[1:]}, but it is {weight.shape}")
