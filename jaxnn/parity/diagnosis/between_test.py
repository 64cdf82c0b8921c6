import numpy as np
import pytest
from scipy import special

from jaxnn.parity.recording import Layer, Op

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(8, 12)) * 3
IMAGES = RANDOM.normal(size=(6, 3, 7, 8))
RELU, FLATTEN = Op(name="relu"), Op(name="flatten", options={"start_dim": 1})


def _pool(name="max_pool2d", **options):
    return Op(name=name, options={"kernel_size": 3, "stride": 2, "padding": 1} | options)


def _windows(x, pads, fill=0.0, kernel=3, stride=2):
    padded = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return windows[:, :, ::stride, ::stride]


def _max(x, pads, fill=-np.inf, **geometry):
    return _windows(x, pads, fill, **geometry).max((-1, -2))


def _mean(x, pads, **geometry):
    return _windows(x, pads, **geometry).mean((-1, -2))


def _relu(x):
    return np.maximum(x, 0)


ACTIVATIONS = {
    "tanh for relu": (RELU, _relu(ROWS), np.tanh(ROWS)),
    "nothing for relu": (RELU, _relu(ROWS), ROWS),
    "leaky relu for relu": (RELU, _relu(ROWS), np.where(ROWS > 0, ROWS, 0.01 * ROWS)),
    "sigmoid for tanh": (Op(name="tanh"), np.tanh(ROWS), special.expit(ROWS)),
    "tanh form of gelu": (
        Op(name="gelu", options={"approximate": "none"}),
        ROWS * special.ndtr(ROWS),
        0.5 * ROWS * (1 + np.tanh(np.sqrt(2 / np.pi) * (ROWS + 0.044715 * ROWS**3))),
    ),
    "silu for gelu": (Op(name="gelu"), ROWS * special.ndtr(ROWS), ROWS * special.expit(ROWS)),
    "another slope": (
        Op(name="leaky_relu", options={"negative_slope": 0.2}),
        np.where(ROWS > 0, ROWS, 0.2 * ROWS),
        np.where(ROWS > 0, ROWS, 0.01 * ROWS),
    ),
    "log-softmax left out": (Op(name="log_softmax", options={"dim": 1}), special.log_softmax(ROWS, axis=1), ROWS),
    "softmax for log-softmax": (
        Op(name="log_softmax", options={"dim": 1}),
        special.log_softmax(ROWS, axis=1),
        special.softmax(ROWS, axis=1),
    ),
}


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_activations(case, of_span):
    op, reference, observed = ACTIVATIONS[case]
    assert [d.cause for d in of_span((op,), ROWS, reference, observed)] == ["activation"]


def test_an_activation_where_pytorch_has_none(of_span):
    assert [d.cause for d in of_span((), ROWS, ROWS, _relu(ROWS))] == ["activation"]


ONE, LATE, NONE = ((1, 1), (1, 1)), ((1, 1), (0, 2)), ((0, 0), (0, 0))
POOLS = {
    "zeros for -inf": (_pool(), _max(IMAGES - 5, ONE), _max(IMAGES - 5, ONE, fill=0.0)),
    "padding after the image": (_pool(), _max(IMAGES - 5, ONE), _max(IMAGES - 5, LATE)),
    "VALID": (_pool(), _max(IMAGES - 5, ONE), _max(IMAGES - 5, NONE)),
    "ceil_mode forgotten": (
        _pool(kernel_size=2, padding=0, ceil_mode=True),
        _max(IMAGES - 5, ((0, 1), (0, 0)), kernel=2),
        _max(IMAGES - 5, NONE, kernel=2),
    ),
    "mean for maximum": (_pool(), _max(IMAGES - 5, ONE), _mean(IMAGES - 5, ONE)),
    "maximum for mean": (_pool("avg_pool2d"), _mean(IMAGES - 5, ONE), _max(IMAGES - 5, ONE)),
    "border not counted": (
        _pool("avg_pool2d"),
        _mean(IMAGES - 5, ONE),
        _mean(IMAGES - 5, ONE) / _mean(np.ones_like(IMAGES), ONE),
    ),
    "border counted": (
        _pool("avg_pool2d", count_include_pad=False),
        _mean(IMAGES - 5, ONE) / _mean(np.ones_like(IMAGES), ONE),
        _mean(IMAGES - 5, ONE),
    ),
    "a stride of 1, flax's default": (
        _pool(kernel_size=2, padding=0, stride=None),
        _max(IMAGES - 5, NONE, kernel=2),
        _max(IMAGES - 5, NONE, kernel=2, stride=1),
    ),
}


@pytest.mark.parametrize("module", [False, True], ids=["function", "module"])
@pytest.mark.parametrize("case", POOLS)
def test_pools(case, module, of_span, of_layer):
    op, reference, observed = POOLS[case]
    if module:
        kind = {"max_pool2d": "MaxPool2d", "avg_pool2d": "AvgPool2d"}[op.name]
        found = of_layer(Layer(name="pool", kind=kind, options=op.options), {}, IMAGES - 5, reference, observed)
    else:
        found = of_span((op,), IMAGES - 5, reference, observed)
    assert [d.cause for d in found] == ["pool-padding"]


def _flat(x, order=(1, 2, 3)):
    return x.transpose(0, *order).reshape(len(x), -1)


@pytest.mark.parametrize("order", [(2, 3, 1), (1, 3, 2), (3, 2, 1)])
def test_flatten_order(order, of_span):
    (found,) = of_span((RELU, FLATTEN), IMAGES, _flat(_relu(IMAGES)), _flat(_relu(IMAGES), order))
    assert found.cause == "flatten-order"
    if order == (2, 3, 1):
        assert "(height, width, channel) in place of (channel, height, width)" in found.evidence


def test_flatten_order_after_what_was_not_recorded(of_span):
    odd = _flat(np.sin(IMAGES))
    found = of_span((Op(name="mul"), FLATTEN), IMAGES, odd, _flat(np.sin(IMAGES), (2, 3, 1)))
    assert [d.cause for d in found] == ["flatten-order"]


def test_a_view_flattens_too(of_span):
    view = Op(name="view", options={"shape": -1})
    found = of_span((view,), IMAGES, _flat(IMAGES), _flat(IMAGES, (2, 3, 1)))
    assert [d.cause for d in found] == ["flatten-order"]


def test_two_faults_between_two_layers(of_span):
    ops = (RELU, _pool(), FLATTEN)
    reference, tanh = _flat(_max(_relu(IMAGES), ONE)), np.tanh(IMAGES)
    both = of_span(ops, IMAGES, reference, _flat(_max(tanh, ONE), (2, 3, 1)))
    assert {d.cause for d in both} == {"activation", "flatten-order"}
    both = of_span(ops[:2], IMAGES, _max(_relu(IMAGES), ONE), _max(tanh, NONE))
    assert {d.cause for d in both} == {"activation", "pool-padding"}


def test_an_activation_of_a_sum_that_was_not_recorded(of_span):
    total, ops = ROWS[:, ::-1] + 1, (Op(name="add"), RELU)
    for observed in (total, np.tanh(total), total * special.expit(total)):
        assert [d.cause for d in of_span(ops, ROWS, _relu(total), observed)] == ["activation"]
    assert of_span(ops, ROWS, _relu(total), _relu(total) * 1.01) == ()


MASK, P = RANDOM.random(ROWS.shape) < 0.75, 0.25
DROPOUTS = {
    "off": (ROWS, "train-eval-mode"),
    "not scaled": (ROWS * MASK, "dropout-scale"),
    "divided by p": (ROWS * MASK / P, "dropout-scale"),
    "multiplied": (ROWS * MASK * (1 - P), "dropout-scale"),
    "an odd scale": (ROWS * MASK * 1.234, "dropout-scale"),
    "the others kept": (ROWS * ~MASK / (1 - P), "dropout-scale"),
    "NaN": (ROWS * np.nan, None),
    "another mask": (ROWS * (RANDOM.random(ROWS.shape) < 0.75) / (1 - P), None),
}


@pytest.mark.parametrize("module", [False, True], ids=["function", "module"])
@pytest.mark.parametrize("case", DROPOUTS)
def test_dropout_in_training(case, module, of_span, of_layer):
    observed, cause = DROPOUTS[case]
    options, reference = {"p": P, "mask": 0}, ROWS * MASK / (1 - P)
    if module:
        layer = Layer(name="drop", kind="Dropout", options=options)
        found = of_layer(layer, {}, ROWS, reference, observed, masks=(MASK,))
    else:
        found = of_span((Op(name="dropout", options=options),), ROWS, reference, observed, masks=(MASK,))
    assert [d.cause for d in found] == ([] if cause is None else [cause])


def test_dropout_in_evaluation(of_span, of_layer):
    dropped = ROWS * MASK / (1 - P)
    layer = Layer(name="drop", kind="Dropout", options={"p": P})
    assert [d.cause for d in of_layer(layer, {}, ROWS, ROWS, dropped, train=False)] == ["train-eval-mode"]
    assert [d.cause for d in of_layer(layer, {}, ROWS, ROWS, ROWS * (1 - P), train=False)] == ["dropout-scale"]
    # A call of F.dropout is not recorded there.
    assert [d.cause for d in of_span((), ROWS, ROWS, dropped, train=False)] == ["train-eval-mode"]
    assert of_span((), ROWS, ROWS, ROWS * (1 - P), train=False) == ()


def test_inputs_in_another_format(of_span):
    assert [d.cause for d in of_span((), ROWS, ROWS, ROWS.astype(np.float32))] == ["dtype"]


def test_nothing_is_said_of_what_nothing_explains(of_span):
    ops = (RELU, _pool(), FLATTEN)
    reference = _flat(_max(_relu(IMAGES), ONE))
    shuffled = RANDOM.permutation(reference.shape[1])
    nothing = np.full_like(reference, np.nan), np.zeros_like(reference), np.full(3, np.nan)
    for strange in (reference * 1.01, reference[:, shuffled], reference + 1e-7, reference[:, :-1], *nothing):
        assert of_span(ops, IMAGES, reference, strange) == ()


def test_layers_that_jax_has_as_functions_belong_to_what_is_between(diagnosed, entry):
    layers = (Layer(name="relu", kind="ReLU"), Layer(name="flat", kind="Flatten"), Layer(name="fc", kind="Linear"))
    left = {"inputs": IMAGES, "forward/relu/output": _relu(IMAGES), "forward/fc/input": _flat(_relu(IMAGES))}
    right = {"alone/fc/input": _flat(_relu(IMAGES), (2, 3, 1)), "alone/fc/output": ROWS}
    found = diagnosed(left, right, entry("forward", "fc", "input", alone=True), layers=layers)
    assert [d.cause for d in found] == ["flatten-order"]
