"""A recipe's loss, as training and evaluation need it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxnn import recipe
from jaxnn.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from jaxnn.losses.classification import ClassWeights, Labels, Scores, cross_entropy, label_weights, nll_loss
from jaxnn.losses.reduction import Loss, Reduction
from jaxnn.losses.regression import mse_loss, sse_loss, sum_loss


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
            return values, label_weights(outputs, labels, class_weights(outputs), loss.ignore_index)
        return values, jnp.ones_like(values)

    return Objective(value, per_example)


def predictions(outputs: Scores) -> Int[Array, " batch"]:
    """Class numbers: the first largest output, or for a single output (log-odds) whether it is above 0."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=1).astype(jnp.int32)
