"""Every loss x option x reduction against torch.nn.functional, on examples that Hypothesis looks for, in float64.

losses_test.py has the edges one thinks of, each with a tolerance of its own size; here they meet each other:
ties, huge logits, probabilities of 0 and 1, batches of which all or nothing is ignored, weights of 0, no batch at all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxnn import losses

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch's kl_div
TOLERANCE = 1e-12
# Seen from the same seed every time; a database of earlier failures would make runs differ.
SETTINGS = hypothesis.settings(derandomize=True, database=None, deadline=None)
# JAX compiles its operations for each shape: a few in the fast tests.
FEW_SHAPES = st.sampled_from([(4, 3), (4, 3), (1, 2), (0, 2)])
MANY_SHAPES = st.tuples(st.integers(0, 4), st.integers(1, 5))


class Example(NamedTuple):
    inputs: np.ndarray
    targets: np.ndarray
    options: dict[str, Any]


Shapes = st.SearchStrategy[tuple[int, int]]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def _floats(low: float, high: float, *edges: float) -> st.SearchStrategy[float]:
    # Half of them from a few values, so that ties and kinks are common. XLA may flush subnormal numbers to 0.
    return st.floats(low, high, allow_subnormal=False) | st.sampled_from((low, high, *edges))


def _floats_of(shape: int | tuple[int, ...], elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=elements, fill=st.nothing())


NUMBERS = _floats(-3.0, 3.0, 0.0, 0.5, 1.0, -1.0)
LOGITS = NUMBERS | _floats(-1e4, 1e4, 0.0)
LOG_PROBS = _floats(-30.0, 0.0, -1.0)
PROBS = _floats(0.0, 1.0, 1e-30, 0.5, 1 - 1e-16)
WEIGHTS = _floats(0.0, 4.0, 1.0)
THRESHOLDS = _floats(0.5, 3.0, 1.0)


@st.composite
def _classes(draw: Draw, shapes: Shapes, inputs: st.SearchStrategy[float], smoothing: tuple[float, ...]) -> Example:
    batch, classes = draw(shapes)
    ignored = draw(st.sampled_from([-100, 0, 999]))
    labels = draw(st.sampled_from([st.integers(0, classes - 1), st.integers(0, classes - 1) | st.just(ignored)]))
    labels = draw(st.sampled_from([labels, labels, st.just(ignored)]))
    options = {
        "ignore_index": ignored,
        "weight": draw(st.none() | _floats_of(classes, WEIGHTS)),
        "label_smoothing": draw(st.sampled_from(smoothing)),
    }
    if smoothing == (0.0,):
        del options["label_smoothing"]
    return Example(draw(_floats_of((batch, classes), inputs)), draw(arrays(np.int64, batch, elements=labels)), options)


@st.composite
def _class_probabilities(draw: Draw, shapes: Shapes) -> Example:
    batch, classes = draw(shapes)
    options = {
        "weight": draw(st.none() | _floats_of(classes, WEIGHTS)),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
    }
    return Example(draw(_floats_of((batch, classes), LOGITS)), draw(_floats_of((batch, classes), PROBS)), options)


@st.composite
def _elements(
    draw: Draw,
    shapes: Shapes,
    inputs: st.SearchStrategy[float],
    targets: st.SearchStrategy[float],
    arrays: tuple[str, ...] = (),
    **numbers: st.SearchStrategy[Any],
) -> Example:
    """Inputs, targets and the options named in ``arrays`` of one shape, and options that are numbers."""
    shape = draw(shapes)
    options = {name: draw(st.none() | _floats_of(shape, WEIGHTS)) for name in arrays}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {name: draw(values) for name, values in numbers.items()}
    return Example(draw(_floats_of(shape, inputs)), draw(_floats_of(shape, targets)), options)


# A loss, or a loss and what its targets are: the examples of some shapes.
EXAMPLES: dict[str, Callable[[Shapes], st.SearchStrategy[Example]]] = {
    "nll_loss": lambda shapes: _classes(shapes, LOG_PROBS, (0.0,)),
    "cross_entropy": lambda shapes: _classes(shapes, LOGITS, (0.0, 0.1, 1.0)),
    "cross_entropy of probabilities": _class_probabilities,
    "mse_loss": lambda shapes: _elements(shapes, NUMBERS, NUMBERS, ("weight",)),
    "l1_loss": lambda shapes: _elements(shapes, NUMBERS, NUMBERS, ("weight",)),
    "smooth_l1_loss": lambda shapes: _elements(shapes, NUMBERS, NUMBERS, beta=THRESHOLDS | st.just(0.0)),
    "huber_loss": lambda shapes: _elements(shapes, NUMBERS, NUMBERS, ("weight",), delta=THRESHOLDS),
    "kl_div": lambda shapes: _elements(shapes, LOG_PROBS, PROBS),
    "kl_div of logarithms": lambda shapes: _elements(shapes, LOG_PROBS, LOG_PROBS, log_target=st.just(True)),
    "binary_cross_entropy": lambda shapes: _elements(shapes, PROBS, PROBS, ("weight",)),
    "binary_cross_entropy_with_logits": lambda shapes: _elements(shapes, LOGITS, PROBS, ("weight", "pos_weight")),
}


CASES = [
    (title, reduction)
    for title in EXAMPLES
    for reduction in ("none", "mean", "sum") + ("batchmean",) * title.startswith("kl_div")
]


def _cotangent(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).uniform(-2, 2, size=shape)


def _ours(loss: Callable[..., Any], example: Example, reduction: str) -> list[np.ndarray]:
    """The loss, and the gradients of inputs and of targets that are floats."""
    options = {name: jnp.asarray(x) if isinstance(x, np.ndarray) else x for name, x in example.options.items()}
    floats, rest = [jnp.asarray(example.inputs)], [jnp.asarray(example.targets)]
    if example.targets.dtype == np.float64:
        floats, rest = floats + rest, []
    value, pull = jax.vjp(lambda *floats: loss(*floats, *rest, **options, reduction=reduction), *floats)
    return [np.asarray(x) for x in (value, *pull(jnp.asarray(_cotangent(value.shape))))]


def _theirs(name: str, example: Example, reduction: str) -> list[np.ndarray]:
    options = {name: torch.tensor(x) if isinstance(x, np.ndarray) else x for name, x in example.options.items()}
    tensors = [torch.tensor(example.inputs), torch.tensor(example.targets)]
    floats = [tensor.requires_grad_() for tensor in tensors if tensor.dtype == torch.float64]
    value = getattr(F, name)(*tensors, **options, reduction=reduction)
    value.backward(torch.tensor(_cotangent(tuple(value.shape))))
    return [value.detach().numpy(), *(x.grad.numpy() for x in floats if x.grad is not None)]


class Check(NamedTuple):
    """Compares ``ours`` (the loss of that name by default) with torch's."""

    title: str
    reduction: str
    largest_error: Callable[[object, object], float]
    ours: Callable[..., Any] | None = None

    def error(self, example: Example) -> float:
        """The largest error, as a share of the array, or of the logits that it is made of where these are larger."""
        name = self.title.split()[0]
        found = _ours(self.ours or getattr(losses, name), example, self.reduction)
        expected = _theirs(name, example, self.reduction)
        scales = [max(1.0, np.abs(example.inputs).max(initial=0)), 1.0, 1.0]
        assert len(found) == len(expected)
        return max(
            self.largest_error(np.append(x, scale), np.append(y, scale))
            for x, y, scale in zip(found, expected, scales, strict=False)
        )


def _search(check: Check, shapes: Shapes, examples: int, **settings: Any) -> None:
    @hypothesis.settings(SETTINGS, max_examples=examples, **settings)
    @hypothesis.given(EXAMPLES[check.title](shapes))
    def equal_torch(example: Example) -> None:
        assert check.error(example) <= TOLERANCE

    equal_torch()


@pytest.mark.parametrize(("title", "reduction"), CASES)
def test_no_difference_is_found(title: str, reduction: str, largest_error: Callable[[object, object], float]) -> None:
    _search(Check(title, reduction, largest_error), FEW_SHAPES, 40)


@pytest.mark.slow
@pytest.mark.parametrize(("title", "reduction"), CASES)
def test_no_difference_is_found_in_many_examples(
    title: str, reduction: str, largest_error: Callable[[object, object], float]
) -> None:
    _search(Check(title, reduction, largest_error), MANY_SHAPES, 500)


def test_every_loss_that_torch_has_is_searched() -> None:
    assert {name for name in losses.__all__ if hasattr(F, name)} == {title.split()[0] for title in EXAMPLES}


def _clamped_only(probs: Any, targets: Any, *, weight: Any = 1.0, reduction: str) -> Any:
    logs = [jnp.maximum(jnp.log(x), -100) for x in (probs, 1 - probs)]
    return (-weight * (targets * logs[0] + (1 - targets) * logs[1])).sum()


# title: the loss, the reduction, and what is wrong with it
FAULTS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "ignored labels count": (
        "nll_loss",
        "mean",
        lambda *a, reduction, **options: losses.nll_loss(*a, **options, reduction="none").mean(),
    ),
    "ignore_index is forgotten": (
        "cross_entropy",
        "sum",
        lambda *a, ignore_index, **options: losses.cross_entropy(*a, **options),
    ),
    "smoothing ignores the weights": (
        "cross_entropy",
        "sum",
        lambda *a, weight, label_smoothing, **options: (
            (1 - label_smoothing) * losses.cross_entropy(*a, weight=weight, **options)
            + label_smoothing * losses.cross_entropy(*a, label_smoothing=1.0, **options)
        ),
    ),
    "probabilities are averaged over their weights": (
        "cross_entropy of probabilities",
        "mean",
        lambda *a, weight, **options: (
            losses.cross_entropy(*a, weight=weight, **options) * (1 if weight is None else len(weight) / weight.sum())
        ),
    ),
    "a mean over elements, whatever their weights": (
        "mse_loss",
        "mean",
        lambda *a, reduction, **options: losses.mse_loss(*a, **options, reduction="none").mean(),
    ),
    "jnp.abs at 0": (
        "l1_loss",
        "sum",
        lambda x, y, weight=1.0, **options: (jnp.abs(x - y) * weight).sum(),
    ),
    "Huber for smooth L1": (
        "smooth_l1_loss",
        "none",
        lambda x, y, beta, reduction: losses.huber_loss(x, y, delta=beta or 1.0, reduction=reduction),
    ),
    "delta of the square alone": (
        "huber_loss",
        "none",
        lambda x, y, delta, **options: losses.huber_loss(x, y, **options),
    ),
    "divergence as a mean over examples": (
        "kl_div",
        "mean",
        lambda *a, reduction: losses.kl_div(*a, reduction="batchmean"),
    ),
    "logarithms taken for probabilities": (
        "kl_div of logarithms",
        "sum",
        lambda x, y, log_target, **options: losses.kl_div(x, jnp.exp(y), **options) * 2,
    ),
    "clamped logarithm with its own gradient": ("binary_cross_entropy", "sum", _clamped_only),
    "pos_weight on both classes": (
        "binary_cross_entropy_with_logits",
        "none",
        lambda *a, weight=1.0, pos_weight=1.0, **options: losses.binary_cross_entropy_with_logits(
            *a, weight=weight * pos_weight * jnp.ones_like(a[0]), **options
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault: str, largest_error: Callable[[object, object], float]) -> None:
    title, reduction, wrong = FAULTS[fault]
    with pytest.raises(AssertionError, match="<= 1e-12"):
        _search(Check(title, reduction, largest_error, wrong), FEW_SHAPES, 40, phases=[hypothesis.Phase.generate])
