"""The loss: its reduction, label smoothing and ignored labels, from its gradient for the class scores."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.evidence import Evidence, array
from jaxnn.parity.diagnosis.hypothesis import Claim, Finding
from jaxnn.parity.diagnosis.measure import distance, resolution, spread
from jaxnn.parity.diagnosis.reference.activations import softmax
from jaxnn.parity.recording import Recording

_LAST = 4
"""So many layers from the end may be functions of the class scores: LogSoftmax, Dropout, Flatten."""

_REDUCTION_FIX = (
    "PyTorch's reduction='mean' divides by the number of elements (for class labels: of examples), 'sum' by nothing; "
    "optax's losses are per example, l2_loss has a factor of 1/2: reduce them as PyTorch does"
)
_IGNORE_FIX = (
    "mask ignored labels before the loss and divide by the number of the others: "
    "jnp.where(labels == ignore_index, 0, values).sum() / (labels != ignore_index).sum(), with labels made valid first"
)


def of_loss(evidence: Evidence) -> Finding | None:
    """What makes the loss, or its gradient, another one, judged on JAX's own outputs."""
    return _of_class_scores(evidence) or _of_ratios(evidence)


@dataclass(frozen=True)
class _Scores:
    """(row, class): scores before the softmax and the loss's gradient for them; a row for each label."""

    values: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class _CrossEntropy:
    """gradient = share * (softmax - (1 - smoothing) * one_hot - smoothing / classes), but for ``error``."""

    share: float
    smoothing: float
    error: float


def _of_class_scores(evidence: Evidence) -> Finding | None:
    found = _class_scores(evidence)
    if found is None:
        return None
    left, right, goals = found
    kept = np.any(left.gradient != 0, axis=1) & np.isfinite(goals).all(axis=1)
    theirs = _cross_entropy(left, goals, kept)
    if theirs is None:
        return None
    claims = list(_claims(evidence, theirs, right, goals, kept))
    says = "; ".join(claim.says for claim in claims)
    return Finding(claims=tuple(claims), evidence=f"loss: {says}") if claims else None


def _claims(
    evidence: Evidence, theirs: _CrossEntropy, right: _Scores, goals: np.ndarray, kept: np.ndarray
) -> Iterator[Claim]:
    rows, counted, classes = len(goals), int(kept.sum()), goals.shape[1]
    ignored = f"PyTorch ignores {rows - counted} of {rows} labels"
    if counted < rows and not np.isfinite(right.gradient).all():
        yield Claim(cause="ignore-index", says=f"{ignored}, and JAX's loss becomes NaN by them", fix=_IGNORE_FIX)
        return
    ours = _cross_entropy(right, goals, kept)
    if ours is None:
        return
    near = 1e3 * max(theirs.error, ours.error, 1e-12)
    ratio = ours.share / theirs.share
    largest = np.abs(right.gradient[~kept]).max(initial=0)
    among = largest > 1e-6 * np.abs(right.gradient).max()
    divided = counted < rows and abs(ratio * rows / counted - 1) <= near
    if among:
        says = f"{ignored}, which have a gradient of up to {largest:.2g} in JAX"
        says += f", and JAX divides by all {rows}" if divided else ""
        yield Claim(cause="ignore-index", says=says, fix=_IGNORE_FIX)
    elif divided:
        says = f"{ignored}, and JAX divides by {rows} in place of {counted}: the gradients' ratio is {ratio:.9g}"
        yield Claim(cause="ignore-index", says=says, fix=_IGNORE_FIX)
    if abs(ours.smoothing - theirs.smoothing) > near:
        yield _smoothing(theirs.smoothing, ours.smoothing, classes)
    if abs(ratio - 1) > near and not divided:
        yield _reduction(ratio, "the gradient for the class scores", _sizes(rows, classes, counted))


def _smoothing(theirs: float, ours: float, classes: int) -> Claim:
    says = f"labels are smoothed by {ours:.6g} in JAX and by {theirs:.6g} in PyTorch, the same for all rows"
    if theirs and abs(ours / theirs - classes / (classes - 1)) < 1e-6:
        says += f"; their ratio is {classes}/{classes - 1}: JAX spreads it over the other classes, PyTorch over all"
    fix = (
        f"smooth as PyTorch's label_smoothing={theirs:.4g}: optax.smooth_labels(one_hot, {theirs:.4g}), "
        "(1 - s) * one_hot + s / classes"
    )
    return Claim(cause="label-smoothing", says=says, fix=fix)


def _class_scores(evidence: Evidence) -> tuple[_Scores, _Scores, np.ndarray] | None:
    """Those of both sides of which PyTorch's loss is a cross-entropy, and (row, class) what the labels ask for."""
    targets = evidence.left.arrays.get("targets")
    if targets is None:
        return None
    for layer in list(reversed(evidence.left.layers))[:_LAST]:
        left, right = (_scores(recording, layer.name) for recording in (evidence.left, evidence.right))
        if left is None or right is None or left.values.shape != right.values.shape:
            continue
        goals = _goals(targets, *left.values.shape)
        kept = np.any(left.gradient != 0, axis=1)
        if goals is not None and _cross_entropy(left, goals, kept & np.isfinite(goals).all(axis=1)) is not None:
            return left, right, goals
    return None


def _scores(recording: Recording, layer: str) -> _Scores | None:
    values = array(recording.arrays, f"forward/{layer}/output")
    gradient = array(recording.arrays, f"backward/{layer}")
    if values is None or gradient is None or values.shape != gradient.shape or values.ndim < 2:
        return None
    classes = values.shape[1]
    if classes < 2:
        return None
    return _Scores(*(np.moveaxis(x, 1, -1).reshape(-1, classes) for x in (values, gradient)))


def _goals(targets: np.ndarray, rows: int, classes: int) -> np.ndarray | None:
    """One-hot rows for labels, NaN where a label is no class; probabilities as they are."""
    if np.issubdtype(targets.dtype, np.integer) and targets.size == rows:
        labels = targets.ravel()
        inside = (labels >= 0) & (labels < classes)
        return np.where(inside[:, None], np.eye(classes)[np.where(inside, labels, 0)], np.nan)
    if targets.ndim >= 2 and targets.size == rows * classes:
        return np.moveaxis(targets, 1, -1).reshape(-1, classes).astype(np.float64)
    return None


def _cross_entropy(scores: _Scores, goals: np.ndarray, kept: np.ndarray) -> _CrossEntropy | None:
    """The cross-entropy of which ``gradient`` is the gradient in the rows kept; None if there is none."""
    gradient = scores.gradient[kept]
    if not kept.any() or not np.isfinite(gradient).all() or not np.isfinite(scores.values[kept]).all():
        return None
    classes = goals.shape[1]
    slopes = (softmax(scores.values[kept], dim=-1) - goals[kept], goals[kept] - 1 / classes)
    system = np.stack([slope.ravel() for slope in slopes], axis=1)
    (share, smoothed), *_ = np.linalg.lstsq(system, gradient.ravel(), rcond=None)
    error = distance((system @ [share, smoothed]).reshape(gradient.shape), gradient)
    smoothing = smoothed / share if share else np.inf
    if share <= 0 or abs(smoothing) > 1 or error > 64 * max(resolution(gradient), resolution(scores.values)):
        return None
    return _CrossEntropy(float(share), float(smoothing), error)


def _of_ratios(evidence: Evidence) -> Finding | None:
    """One constant between the losses, or between all gradients, where the outputs are the same."""
    left, right = evidence.left.arrays, evidence.right.arrays
    outputs = array(left, "outputs"), array(right, "outputs")
    losses = array(left, "loss"), array(right, "loss")
    if outputs[0] is None or outputs[1] is None or losses[0] is None or losses[1] is None or losses[1].size != 1:
        return None
    away = distance(outputs[0], outputs[1])
    names = [name for name in evidence.left.under("gradient") if f"gradient/{name}" in right]
    pairs = [(left[f"gradient/{name}"], right[f"gradient/{name}"]) for name in names]
    loss_ratio = losses[1].item() / losses[0].item() if losses[0] else np.nan
    gradient_ratio = _common_ratio(pairs)
    rows, classes = len(outputs[0]) if outputs[0].ndim else 1, outputs[0].shape[-1] if outputs[0].ndim > 1 else 1
    sizes = _sizes(rows, classes, rows) | {"the number of outputs": outputs[0].size}
    if gradient_ratio is not None and abs(gradient_ratio - 1) > max(1e3 * away, 1e-6):
        claim = _reduction(gradient_ratio, f"every gradient (and {loss_ratio:.9g} times the loss)", sizes)
    elif gradient_ratio is not None and away <= 1e-6 and _known(loss_ratio, sizes):
        claim = _reduction(loss_ratio, "the loss, with the same gradients,", sizes)
    else:
        return None
    return Finding(claims=(claim,), evidence=f"loss: {claim.says}")


def _common_ratio(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float | None:
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        return None
    theirs, ours = (np.concatenate([spread(pair[i]) for pair in pairs]) for i in (0, 1))
    squares = float(theirs @ theirs)
    if not squares or not np.isfinite(ours).all():
        return None
    ratio = float(ours @ theirs) / squares
    constant = distance(ratio * theirs, ours) <= max(1e-9, 64 * resolution(ours)) and ratio > 0
    return ratio if constant else None


def _sizes(rows: int, classes: int, kept: int) -> dict[str, int]:
    return {
        "the number of examples": rows,
        "the number of outputs of an example": classes,
        "the number of outputs": rows * classes,
        "the number of labels that count": kept,
    }


def _known(ratio: float, sizes: dict[str, int]) -> str:
    """How ``ratio`` comes about from the sizes; empty if it does not."""
    if not np.isfinite(ratio) or ratio <= 0:
        return ""
    for value, said in ((0.5, "one half"), (2.0, "two")):
        if abs(ratio / value - 1) < 1e-6:
            return said
    for factor, said in ((1.0, ""), (0.5, "half of "), (2.0, "twice ")):
        for name, size in sizes.items():
            for value, written in ((factor * size, f"{said}{name}"), (factor / size, f"{said}1/{name}")):
                if size > 1 and abs(ratio / value - 1) < 1e-6:
                    return f"{written} ({size})"
    return ""


def _reduction(ratio: float, what: str, sizes: dict[str, int]) -> Claim:
    known = _known(ratio, sizes)
    says = f"JAX has {ratio:.9g} times {what}, one constant" + (f": {known}" if known else "")
    return Claim(cause="loss-reduction", says=says, fix=_REDUCTION_FIX)
