import numpy as np
import pytest
from scipy import special

from jaxnn.parity.recording import Layer, Op

RANDOM = np.random.default_rng(0)
ROWS, CLASSES = 12, 5
LOGITS = RANDOM.normal(size=(ROWS, CLASSES))
LABELS = RANDOM.integers(0, CLASSES, size=ROWS)
IGNORED = np.where(np.arange(ROWS) < 3, -100, LABELS)


def _cross_entropy(logits, labels, *, smoothing=0.0, others=False, count=None, ignore=-100):
    """(loss, gradient for the logits); ``others``: smoothing goes to the other classes alone."""
    kept = labels != ignore
    one_hot = np.eye(CLASSES)[np.where(kept, labels, 0)]
    shared = (1 - one_hot) / (CLASSES - 1) if others else np.full_like(one_hot, 1 / CLASSES)
    goals = ((1 - smoothing) * one_hot + smoothing * shared) * kept[:, None]
    count = kept.sum() if count is None else count
    loss = -(goals * special.log_softmax(logits, axis=1)).sum() / count
    return loss, (special.softmax(logits, axis=1) * kept[:, None] - goals) / count


@pytest.fixture
def of_loss(diagnosed, entry):
    """The causes of another loss: (loss, gradient for the last layer) of both; ``scores`` of the right, if others."""

    def run(theirs, ours, *, labels=LABELS, scores=LOGITS, after=(), outputs=LOGITS, forward=()):
        layers = (Layer(name="head", kind="Linear"),)
        left = {"targets": labels, "forward/head/output": LOGITS, "outputs": outputs}
        right = {"forward/head/output": scores, "alone/head/output": LOGITS}
        right["outputs"] = outputs if scores is LOGITS else scores
        for arrays, (loss, gradient) in ((left, theirs), (right, ours)):
            arrays |= {"loss": np.asarray(loss), "backward/head": gradient, "gradient/head.bias": gradient.sum(0)}
            arrays["gradient/head.weight"] = gradient.T @ np.cos(LOGITS)
        entries = (*forward, entry("loss", "loss", "loss"), entry("gradients", "head", "gradient of output"))
        return diagnosed(left, right, *entries, layers=layers, after=after)

    return run


PLAIN = _cross_entropy(LOGITS, LABELS)
SMOOTHED = _cross_entropy(LOGITS, LABELS, smoothing=0.1)
KEPT = _cross_entropy(LOGITS, IGNORED)
CASES = {
    "summed": (PLAIN, _cross_entropy(LOGITS, LABELS, count=1), LABELS, "loss-reduction"),
    "averaged over the classes too": (
        PLAIN,
        _cross_entropy(LOGITS, LABELS, count=ROWS * CLASSES),
        LABELS,
        "loss-reduction",
    ),
    "smoothing forgotten": (SMOOTHED, PLAIN, LABELS, "label-smoothing"),
    "smoothing added": (PLAIN, SMOOTHED, LABELS, "label-smoothing"),
    "other smoothing": (SMOOTHED, _cross_entropy(LOGITS, LABELS, smoothing=0.237), LABELS, "label-smoothing"),
    "smoothing over the others": (
        SMOOTHED,
        _cross_entropy(LOGITS, LABELS, smoothing=0.1, others=True),
        LABELS,
        "label-smoothing",
    ),
    "divided by all": (KEPT, _cross_entropy(LOGITS, IGNORED, count=ROWS), IGNORED, "ignore-index"),
    "ignored as class 0": (KEPT, _cross_entropy(LOGITS, np.maximum(IGNORED, 0)), IGNORED, "ignore-index"),
    "NaN": (KEPT, (np.nan, np.where(IGNORED[:, None] < 0, np.nan, KEPT[1])), IGNORED, "ignore-index"),
    "a class that PyTorch ignores": (_cross_entropy(LOGITS, LABELS, ignore=2), PLAIN, LABELS, "ignore-index"),
}


@pytest.mark.parametrize("case", CASES)
def test_cross_entropy(case, of_loss):
    theirs, ours, labels, cause = CASES[case]
    assert [d.cause for d in of_loss(theirs, ours, labels=labels)] == [cause]


def test_the_numbers_are_said(of_loss):
    theirs, ours, labels, _ = CASES["smoothing over the others"]
    (found,) = of_loss(theirs, ours, labels=labels)
    assert "smoothed by 0.125 in JAX and by 0.1 in PyTorch" in found.evidence and "5/4" in found.evidence
    (found,) = of_loss(*CASES["divided by all"][:2], labels=IGNORED)
    assert "ignores 3 of 12 labels" in found.evidence and "divides by 12 in place of 9" in found.evidence
    (found,) = of_loss(*CASES["summed"][:2])
    assert "12 times" in found.evidence and "the number of examples (12)" in found.evidence


def test_two_faults(of_loss):
    found = of_loss(SMOOTHED, _cross_entropy(LOGITS, LABELS, count=1))
    assert [d.cause for d in found] == ["label-smoothing", "loss-reduction"]


def test_jax_s_loss_is_judged_on_its_own_scores(of_loss, entry):
    scores = LOGITS + RANDOM.normal(size=LOGITS.shape)
    failed = (entry("forward", "outputs", "output"),)
    smoothed = _cross_entropy(scores, LABELS, smoothing=0.1)
    assert [d.cause for d in of_loss(PLAIN, smoothed, scores=scores, forward=failed)] == ["label-smoothing"]
    assert of_loss(PLAIN, _cross_entropy(scores, LABELS), scores=scores, forward=failed) == ()


def test_log_softmax_after_the_last_layer_and_probabilities_as_targets(of_loss):
    outputs = special.log_softmax(LOGITS, axis=1)
    after = (Op(name="log_softmax", options={"dim": 1}),)
    assert [d.cause for d in of_loss(PLAIN, SMOOTHED, after=after, outputs=outputs)] == ["label-smoothing"]
    probabilities = np.eye(CLASSES)[LABELS]
    assert [d.cause for d in of_loss(PLAIN, SMOOTHED, labels=probabilities)] == ["label-smoothing"]


RESIDUALS = LOGITS - RANDOM.normal(size=LOGITS.shape)
MSE = (RESIDUALS**2).mean(), 2 * RESIDUALS / RESIDUALS.size


@pytest.mark.parametrize(("factor", "said"), [(0.5, "one half"), (60, "outputs (60)"), (5, "(5)"), (12, "(12)")])
def test_reduction_of_any_loss(factor, said, of_loss):
    targets = LOGITS - RESIDUALS
    (found,) = of_loss(MSE, (factor * MSE[0], factor * MSE[1]), labels=targets)
    assert found.cause == "loss-reduction" and said in found.evidence


def test_a_loss_that_differs_by_a_size_while_its_gradients_agree(of_loss):
    assert [d.cause for d in of_loss(MSE, (60 * MSE[0], MSE[1]), labels=LOGITS - RESIDUALS)] == ["loss-reduction"]
    assert of_loss(MSE, (1.234 * MSE[0], MSE[1]), labels=LOGITS - RESIDUALS) == ()


def test_nothing_is_said_of_other_losses(of_loss):
    noise = 1e-3 * RANDOM.normal(size=LOGITS.shape)
    assert of_loss(PLAIN, (PLAIN[0], PLAIN[1] + noise)) == ()
    assert of_loss(PLAIN, MSE) == ()
    assert of_loss(MSE, (MSE[0], MSE[1] + noise), labels=LOGITS - RESIDUALS) == ()
    assert of_loss(PLAIN, (np.nan, np.full_like(LOGITS, np.nan))) == ()
