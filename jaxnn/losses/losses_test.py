from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import losses, recipe

OUTPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
LABELS = jnp.asarray([0, 2, 1, 1, 2, 0], jnp.int32)
LOG_PROBS = np.asarray(jax.nn.log_softmax(OUTPUTS))
PICKED = -LOG_PROBS[np.arange(6), LABELS]
ERRORS = np.asarray(OUTPUTS) - np.eye(3)[np.asarray(LABELS)]
WEIGHT = np.array([0.5, 2.0, 1.0])[np.asarray(LABELS)]
AVERAGE: Any = "average"
KEPT = np.asarray(LABELS) != 2


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize(
    ("loss", "value", "values", "weights"),
    [
        ({"name": "cross_entropy"}, PICKED.mean(), PICKED, np.ones(6)),
        ({"name": "cross_entropy", "reduction": "sum"}, PICKED.sum(), PICKED, np.ones(6)),
        (
            {"name": "cross_entropy", "weight": (0.5, 2.0, 1.0), "ignore_index": 2},
            (PICKED * WEIGHT * KEPT).sum() / (WEIGHT * KEPT).sum(),
            PICKED * WEIGHT * KEPT,
            WEIGHT * KEPT,
        ),
        (
            {"name": "cross_entropy", "label_smoothing": 0.3},
            (0.7 * PICKED - 0.3 * LOG_PROBS.mean(1)).mean(),
            0.7 * PICKED - 0.3 * LOG_PROBS.mean(1),
            np.ones(6),
        ),
        ({"name": "mse"}, (ERRORS**2).mean(), (ERRORS**2).mean(1), np.ones(6)),
        ({"name": "mse", "reduction": "sum"}, (ERRORS**2).sum(), (ERRORS**2).mean(1), np.ones(6)),
        ({"name": "sse"}, (ERRORS**2).sum(1).mean(), (ERRORS**2).sum(1), np.ones(6)),
        ({"name": "sse", "reduction": "sum"}, (ERRORS**2).sum(), (ERRORS**2).sum(1), np.ones(6)),
        ({"name": "sum"}, ERRORS.sum(), ERRORS.sum(1), np.ones(6)),
    ],
    ids=lambda case: str(case) if isinstance(case, dict) else "",
)
def test_objective(loss, value, values, weights):
    objective = losses.build(recipe.Loss(**loss), classes=3)
    np.testing.assert_allclose(jax.jit(objective.value)(OUTPUTS, LABELS), value, rtol=1e-5)
    found = jax.jit(objective.per_example)(OUTPUTS, LABELS)
    np.testing.assert_allclose(found[0], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[1], weights)
    assert {x.dtype for x in found} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("name", "pos_weight"), [("bce", None), ("bce_with_logits", None), ("bce_with_logits", 3.0)])
def test_binary_objective(name, pos_weight):
    logits, labels = OUTPUTS[:, :1], LABELS % 2
    probability = 1 / (1 + np.exp(-np.asarray(logits[:, 0], np.float64)))
    expected = -np.where(labels == 1, (pos_weight or 1) * np.log(probability), np.log(1 - probability))
    objective = losses.build(recipe.Loss(name=name, pos_weight=pos_weight), classes=2)
    np.testing.assert_allclose(objective.value(logits, labels), expected.mean(), rtol=1e-5)
    values, weights = objective.per_example(logits, labels)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_array_equal(weights, np.ones(6))


def test_nll_reads_log_probabilities():
    objective = losses.build(recipe.Loss(name="nll", weight=(0.5, 2.0, 1.0)), classes=3)
    expected = (PICKED * WEIGHT).sum() / WEIGHT.sum()
    np.testing.assert_allclose(objective.value(jnp.asarray(LOG_PROBS), LABELS), expected, rtol=1e-5)


def test_predictions():
    ties = jnp.asarray([[0.0, 1.0, 1.0], [2.0, 2.0, 0.0]])
    assert losses.predictions(ties).tolist() == [1, 0]
    assert losses.predictions(jnp.asarray([[0.0], [1e-9], [-1.0]])).tolist() == [0, 1, 0]
    assert losses.predictions(ties).dtype == losses.predictions(ties[:, :1]).dtype == jnp.int32


def test_label_outside_the_classes_is_nan_and_never_ignored():
    assert jnp.isnan(losses.cross_entropy(OUTPUTS, LABELS.at[0].set(3)))
    assert jnp.isnan(losses.nll_loss(OUTPUTS, LABELS.at[0].set(-1)))
    assert jnp.isfinite(losses.nll_loss(OUTPUTS, LABELS.at[0].set(-1), ignore_index=-1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.mse_loss(OUTPUTS, OUTPUTS, reduction=AVERAGE), "'none', 'mean' or 'sum'.*'average'"),
        (lambda: losses.mse_loss(OUTPUTS, OUTPUTS[:, :1]), r"mse_loss: .*\(6, 3\), \(6, 1\)"),
        (lambda: losses.mse_loss(OUTPUTS, OUTPUTS, weight=jnp.ones(3)), r"shape of outputs, \(6, 3\), .*\(3,\)"),
        (lambda: losses.l1_loss(OUTPUTS, OUTPUTS[0]), "l1_loss"),
        (lambda: losses.smooth_l1_loss(OUTPUTS, OUTPUTS, beta=-1.0), "beta must be at least 0, but it is -1.0"),
        (lambda: losses.huber_loss(OUTPUTS, OUTPUTS, delta=0.0), "delta must be above 0, but it is 0.0"),
        (lambda: losses.kl_div(OUTPUTS, OUTPUTS[0]), "kl_div"),
        (lambda: losses.sse_loss(OUTPUTS, OUTPUTS[:3]), "sse_loss"),
        (lambda: losses.sum_loss(OUTPUTS, OUTPUTS[0]), "sum_loss"),
        (lambda: losses.nll_loss(OUTPUTS, LABELS[:5]), r"\(6, 3\), \(5,\)"),
        (lambda: losses.cross_entropy(OUTPUTS, LABELS, weight=jnp.ones(2)), r"one value a class, \(3,\)"),
        (lambda: losses.cross_entropy(OUTPUTS, OUTPUTS, weight=jnp.ones(2)), r"one value a class, \(3,\)"),
        (lambda: losses.cross_entropy(OUTPUTS, OUTPUTS, ignore_index=1), "ignore_index 1 needs class numbers"),
        (lambda: losses.binary_cross_entropy(OUTPUTS, OUTPUTS[0]), "binary_cross_entropy"),
        (lambda: losses.binary_cross_entropy_with_logits(OUTPUTS, OUTPUTS[0]), "with_logits"),
    ],
)
def test_wrong_use_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
