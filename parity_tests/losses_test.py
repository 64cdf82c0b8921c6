"""Every loss x option x reduction against torch.nn.functional: values, and gradients of all float inputs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxnn import losses

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch's kl_div
CLASSES = 5
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(7, CLASSES)) * 3
LABELS = RANDOM.integers(0, CLASSES, size=7)
WITH_IGNORED = np.where(np.arange(7) % 3 == 0, -100, LABELS)
OUT_OF_RANGE = np.where(np.arange(7) % 3 == 0, 999, LABELS)
DISTRIBUTIONS = RANDOM.dirichlet(np.ones(CLASSES), size=7)
WEIGHT = np.array([0.5, 2.0, 0.0, 1.0, 3.0])
HUGE = np.array([[1e4, -1e4, 0.0, 1.0, -1.0], [-1e4, -1e4, 1e4, 1e4, 0.0]])
MASKED = np.array([[0.0, -np.inf, 1.0, -1.0, 2.0], [-np.inf, 3.0, 1.0, -np.inf, 2.0]])
BITS = RANDOM.integers(0, 2, size=(7, CLASSES)).astype(float)
PROBS = RANDOM.uniform(size=(7, CLASSES))
# Kept apart, so that a gradient of 1e12 does not hide an error in the others.
EDGES = {
    "0 and 1, right": ([[0.0, 1.0]], [[0.0, 1.0]]),
    "0 and 1, wrong": ([[0.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 0.3, 0.5]]),
    "almost 0 and 1, right": ([[1e-30, 1e-13, 1 - 1e-7]], [[0.0, 0.0, 1.0]]),
    "almost 0 and 1, wrong": ([[1e-30, 1e-13]], [[1.0, 0.5]]),
}
# Errors at the kinks of the regression losses (0, and 0.5 or 1), and far beyond them.
ERRORS = np.array([[0.0, 0.5, -0.5, 1.0, -1.0], [0.25, -3.0, 1e30, -1e30, np.inf]])
HUGE_BITS = np.array([[0.0, 1.0, 1.0, 0.0, 0.3], [0.0, 1.0, 0.0, 1.0, 0.5]])


class Case(NamedTuple):
    loss: str
    title: str
    inputs: np.ndarray
    targets: np.ndarray
    options: dict[str, Any] = {}


CASES = [
    *(
        Case(loss, title, scores, labels, options)
        for loss, scores in [("nll_loss", np.log(DISTRIBUTIONS)), ("cross_entropy", SCORES)]
        for title, labels, options in [
            ("plain", LABELS, {}),
            ("weight", LABELS, {"weight": WEIGHT}),
            ("weights all 0", LABELS, {"weight": 0 * WEIGHT}),
            ("ignored", WITH_IGNORED, {}),
            ("ignored and weight", WITH_IGNORED, {"weight": WEIGHT}),
            ("ignored class", LABELS, {"ignore_index": int(LABELS[0])}),
            ("ignored out of range", OUT_OF_RANGE, {"ignore_index": 999, "weight": WEIGHT}),
            ("all ignored", np.full(7, -100), {}),
            ("all ignored and weight", np.full(7, -100), {"weight": WEIGHT}),
        ]
    ),
    Case("nll_loss", "-inf", np.array([[-np.inf, -1.0, 0.0, -2.0, -3.0]] * 2), np.array([0, 1])),
    Case("cross_entropy", "-inf", MASKED, np.array([0, 2])),
    Case("cross_entropy", "huge", HUGE, np.array([1, 3])),
    *(
        Case("cross_entropy", f"smoothing {title}", SCORES, labels, {"label_smoothing": 0.1} | options)
        for title, labels, options in [
            ("labels", LABELS, {}),
            ("labels fully", LABELS, {"label_smoothing": 1.0}),
            ("labels and weight", LABELS, {"weight": WEIGHT}),
            ("labels of weight 0", np.full(7, 2), {"weight": WEIGHT}),
            ("ignored", WITH_IGNORED, {}),
            ("ignored and weight", WITH_IGNORED, {"weight": WEIGHT}),
            ("all ignored", np.full(7, -100), {}),
            ("probabilities", DISTRIBUTIONS, {}),
            ("probabilities and weight", DISTRIBUTIONS, {"weight": WEIGHT}),
        ]
    ),
    Case("cross_entropy", "probabilities", SCORES, DISTRIBUTIONS),
    Case("cross_entropy", "probabilities and weight", SCORES, DISTRIBUTIONS, {"weight": WEIGHT}),
    Case("cross_entropy", "huge, probabilities", HUGE, DISTRIBUTIONS[:2]),
    *(
        Case(loss, title, outputs, targets, options)
        for loss, options in [
            ("mse_loss", {}),
            ("l1_loss", {}),
            ("smooth_l1_loss", {}),
            ("smooth_l1_loss", {"beta": 0.5}),
            ("smooth_l1_loss", {"beta": 0.0}),
            ("huber_loss", {}),
            ("huber_loss", {"delta": 0.5}),
        ]
        for title, outputs, targets in [
            (f"plain {options or ''}", SCORES, DISTRIBUTIONS),
            (f"kinks {options or ''}", ERRORS[:1], 0 * ERRORS[:1]),
            (f"huge {options or ''}", ERRORS[1:], 0 * ERRORS[:1]),
        ]
    ),
    *(
        Case(loss, title, SCORES, DISTRIBUTIONS, {"weight": weight} | options)
        for loss, options in [("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {"delta": 0.5})]
        for title, weight in [("weight", PROBS), ("weights all 0", 0 * PROBS)]
    ),
    Case("kl_div", "plain", np.log(PROBS), DISTRIBUTIONS),
    Case("kl_div", "targets of 0", np.log(PROBS), BITS),
    Case("kl_div", "-inf", MASKED, np.array([[1.0, 0.5, 0.0, 0.2, 0.3], [0.0, 1.0, 0.0, 0.0, 0.0]])),
    Case("kl_div", "log targets", np.log(PROBS), np.log(DISTRIBUTIONS), {"log_target": True}),
    Case("kl_div", "log targets of -inf", SCORES[:2], MASKED, {"log_target": True}),
    Case("kl_div", "images", SCORES.reshape(7, 5, 1), DISTRIBUTIONS.reshape(7, 5, 1)),
    Case("binary_cross_entropy", "plain", PROBS, BITS),
    Case("binary_cross_entropy", "soft targets", PROBS, DISTRIBUTIONS),
    Case("binary_cross_entropy", "class weight", PROBS, BITS, {"weight": WEIGHT}),
    Case("binary_cross_entropy", "element weight", PROBS, BITS, {"weight": PROBS[::-1].copy()}),
    *(
        Case("binary_cross_entropy", title, np.array(probs), np.array(targets))
        for title, (probs, targets) in EDGES.items()
    ),
    Case("binary_cross_entropy_with_logits", "plain", SCORES, BITS),
    Case("binary_cross_entropy_with_logits", "class weight", SCORES, BITS, {"weight": WEIGHT}),
    Case("binary_cross_entropy_with_logits", "pos_weight", SCORES, BITS, {"pos_weight": WEIGHT}),
    Case("binary_cross_entropy_with_logits", "both", SCORES, BITS, {"pos_weight": WEIGHT, "weight": WEIGHT}),
    Case("binary_cross_entropy_with_logits", "soft targets", SCORES, DISTRIBUTIONS, {"pos_weight": WEIGHT}),
    Case("binary_cross_entropy_with_logits", "huge", HUGE, HUGE_BITS),
    Case("binary_cross_entropy_with_logits", "huge, pos_weight", HUGE, HUGE_BITS, {"pos_weight": WEIGHT}),
    Case("binary_cross_entropy_with_logits", "0", np.zeros((2, 5)), HUGE_BITS, {"pos_weight": WEIGHT}),
]


def _cotangent(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def _ours(case: Case, reduction: Any, precision: str) -> list[np.ndarray]:
    def array(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return jnp.asarray(value, precision if value.dtype == float else jnp.int32)

    options = {name: array(value) for name, value in case.options.items()}

    def loss(*floats: Any) -> Any:
        targets = floats[1] if len(floats) == 2 else array(case.targets)
        return getattr(losses, case.loss)(floats[0], targets, **options, reduction=reduction)

    floats = [array(value) for value in (case.inputs, case.targets) if value.dtype == float]
    value, pull = jax.vjp(loss, *floats)
    assert value.dtype == precision
    return [np.asarray(x) for x in (value, *pull(jnp.asarray(_cotangent(value.shape), precision)))]


def _theirs(case: Case, reduction: str, precision: str) -> list[np.ndarray]:
    dtype = getattr(torch, precision)

    def tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.tensor(value, dtype=dtype if value.dtype == float else torch.int64)

    inputs, targets = tensor(case.inputs), tensor(case.targets)
    floats = [value.requires_grad_() for value in (inputs, targets) if value.dtype == dtype]
    options = {name: tensor(value) for name, value in case.options.items()}
    value = getattr(F, case.loss)(inputs, targets, **options, reduction=reduction)
    value.backward(torch.tensor(_cotangent(tuple(value.shape)), dtype=dtype))
    return [value.detach().numpy(), *(x.grad.numpy() for x in floats if x.grad is not None)]


# float32: a dozen roundings of 6e-8 and another order of summation.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}


@pytest.mark.parametrize("precision", TOLERANCE, indirect=True)
@pytest.mark.parametrize(
    ("case", "reduction"),
    [
        pytest.param(case, reduction, id=f"{case.loss}: {case.title}, {reduction}")
        for case in CASES
        for reduction in ("none", "mean", "sum") + ("batchmean",) * (case.loss == "kl_div")
    ],
)
def test_values_and_gradients_equal_torch(case, reduction, precision, largest_error):
    ours, theirs = _ours(case, reduction, precision), _theirs(case, reduction, precision)
    assert len(ours) == len(theirs)
    for name, x, y in zip(("value", "gradient of inputs", "gradient of targets"), ours, theirs, strict=False):
        assert largest_error(x, y) <= TOLERANCE[precision], name


def _clamped_only(probs: Any, targets: Any) -> Any:
    clamped = [jnp.maximum(jnp.log(x), -100) for x in (probs, 1 - probs)]
    return -(targets * clamped[0] + (1 - targets) * clamped[1]).mean()


def _smoothing_over_other_classes(logits: Any, labels: Any) -> Any:
    one_hot = jax.nn.one_hot(labels, CLASSES, dtype=logits.dtype)
    targets = 0.9 * one_hot + 0.1 * (1 - one_hot) / (CLASSES - 1)
    return -(targets * jax.nn.log_softmax(logits)).sum(axis=1).mean()


FAULTS = {
    "label smoothing over the other classes": (
        Case("cross_entropy", "", SCORES, LABELS, {"label_smoothing": 0.1}),
        _smoothing_over_other_classes,
    ),
    "weighted mean over examples": (
        Case("cross_entropy", "", SCORES, LABELS, {"weight": WEIGHT}),
        lambda logits, labels: losses.cross_entropy(
            logits, labels, weight=jnp.asarray(WEIGHT), reduction="none"
        ).mean(),
    ),
    "mean over ignored examples too": (
        Case("nll_loss", "", np.log(DISTRIBUTIONS), WITH_IGNORED),
        lambda scores, labels: losses.nll_loss(scores, labels, reduction="none").mean(),
    ),
    "halved squares": (
        Case("mse_loss", "", SCORES, DISTRIBUTIONS),
        lambda outputs, targets: jnp.square(outputs - targets).mean() / 2,
    ),
    "mean over elements, whatever their weights": (
        Case("l1_loss", "", SCORES, DISTRIBUTIONS, {"weight": PROBS}),
        lambda outputs, targets: (jnp.abs(outputs - targets) * jnp.asarray(PROBS)).mean(),
    ),
    "jnp.abs at 0": (
        Case("l1_loss", "", ERRORS[:1], 0 * ERRORS[:1]),
        lambda outputs, targets: jnp.abs(outputs - targets).mean(),
    ),
    "Huber for smooth L1": (
        Case("smooth_l1_loss", "", SCORES, DISTRIBUTIONS, {"beta": 0.5}),
        lambda outputs, targets: losses.huber_loss(outputs, targets, delta=0.5),
    ),
    "divergence as a mean over examples": (
        Case("kl_div", "", np.log(PROBS), DISTRIBUTIONS),
        lambda log_probs, targets: losses.kl_div(log_probs, targets, reduction="batchmean"),
    ),
    "clamped logarithm with its own gradient": (
        Case("binary_cross_entropy", "", np.array(EDGES["0 and 1, wrong"][0]), np.array(EDGES["0 and 1, wrong"][1])),
        _clamped_only,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault, largest_error):
    case, wrong = FAULTS[fault]
    value, pull = jax.vjp(lambda inputs: wrong(inputs, jnp.asarray(case.targets)), jnp.asarray(case.inputs))
    ours = (value, *pull(jnp.asarray(_cotangent(()))))
    assert max(map(largest_error, ours, _theirs(case, "mean", "float64"))) > 1e-12
