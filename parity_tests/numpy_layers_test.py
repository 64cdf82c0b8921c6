"""The layers, gradients and optimizers in NumPy that diagnoses are made with, against PyTorch in float64."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxnn.parity.diagnosis.measure import FORMATS
from jaxnn.parity.diagnosis.reference import activations, convolution, functions, gradients, normalization
from jaxnn.parity.diagnosis.reference.optimizers import Stretch, rule_of, simulate
from jaxnn.parity.recording import Layer, Op

TOLERANCE = 1e-13
RANDOM = np.random.default_rng(0)
IMAGES = (3, 4, 9, 8)

MODULES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    *((kind, {}, IMAGES) for kind in activations.MODULES if kind not in ("Softmax", "LogSoftmax")),
    ("Softmax", {"dim": 1}, IMAGES),
    ("LogSoftmax", {"dim": -1}, (5, 7)),
    ("LeakyReLU", {"negative_slope": 0.2}, IMAGES),
    ("GELU", {"approximate": "tanh"}, IMAGES),
    ("ELU", {"alpha": 0.5}, IMAGES),
    ("CELU", {"alpha": 0.5}, IMAGES),
    ("Softplus", {"beta": 3.0, "threshold": 1.0}, IMAGES),
    ("Flatten", {}, IMAGES),
    ("Flatten", {"start_dim": 2}, IMAGES),
    ("MaxPool1d", {"kernel_size": 3, "stride": 2, "padding": 1}, (2, 3, 9)),
    ("MaxPool2d", {"kernel_size": 2}, IMAGES),
    ("MaxPool2d", {"kernel_size": (3, 2), "stride": 2, "padding": 1, "ceil_mode": True}, IMAGES),
    ("MaxPool2d", {"kernel_size": 3, "stride": 1, "dilation": 2}, IMAGES),
    ("AvgPool2d", {"kernel_size": 2}, IMAGES),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, IMAGES),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}, IMAGES),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, IMAGES),
    ("AvgPool2d", {"kernel_size": 2, "ceil_mode": True, "divisor_override": 3}, IMAGES),
    ("AdaptiveAvgPool2d", {"output_size": (3, 4)}, IMAGES),
    ("AdaptiveAvgPool2d", {"output_size": 1}, IMAGES),
]


@pytest.mark.parametrize(("kind", "options", "shape"), MODULES, ids=lambda value: str(value))
def test_functions_equal_torch(kind, options, shape, largest_error):
    module = getattr(torch.nn, kind)(**options)
    recorded = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    op = functions.as_op(Layer(name="layer", kind=kind, options=recorded))
    x = np.round(RANDOM.normal(size=shape) * 4) / 2 + 0.125  # coarse: pools meet ties, no kink is met
    inputs = torch.tensor(x, requires_grad=True)
    expected = module(inputs)
    assert op is not None
    assert largest_error(functions.apply(op, x), expected.detach()) <= TOLERANCE
    if kind in ("Identity", "AdaptiveAvgPool2d") or (kind == "AvgPool2d" and options.get("padding")):
        return  # gradients of these are not simulated
    cotangent = RANDOM.normal(size=expected.shape)
    expected.backward(torch.tensor(cotangent))
    assert inputs.grad is not None
    # Smooth slopes are central differences; torch's slope of hardsigmoid is 1/6 in float32.
    differences = 1e-7 if kind in activations.MODULES else TOLERANCE
    assert largest_error(gradients.function_gradient(op, x, cotangent), inputs.grad) <= differences


@pytest.mark.parametrize("mask", [None, RANDOM.random(IMAGES) < 0.7], ids=["evaluation", "training"])
def test_dropout_scales_as_torch(mask, largest_error):
    x = RANDOM.normal(size=IMAGES)
    op = Op(name="dropout", options={"p": 0.3})
    expected = x if mask is None else np.where(mask, x / 0.7, 0)
    assert largest_error(functions.apply(op, x, mask), expected) <= TOLERANCE


CONVOLUTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Conv2d", {"kernel_size": 3}),
    ("Conv2d", {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
    ("Conv2d", {"kernel_size": 3, "dilation": 2, "groups": 2, "padding": 2}),
    ("Conv2d", {"kernel_size": 4, "padding": "same"}),
    ("Conv2d", {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}),
    ("Conv2d", {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"}),
    ("Conv2d", {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}),
    ("Conv1d", {"kernel_size": 3, "stride": 2, "padding": 1}),
]


@pytest.mark.parametrize(("kind", "options"), CONVOLUTIONS, ids=lambda value: str(value))
def test_convolutions_equal_torch(kind, options, largest_error):
    module = getattr(torch.nn, kind)(4, 6, bias=False, **options)
    x = RANDOM.normal(size=IMAGES if kind == "Conv2d" else (3, 4, 9))
    inputs = torch.tensor(x, requires_grad=True)
    expected = module(inputs)
    weight = module.weight.detach().numpy()
    span = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], module.dilation, strict=True)]
    geometry = {"stride": module.stride, "dilation": module.dilation, "groups": module.groups}
    before = convolution.torch_padding(module.padding, span)
    mode = module.padding_mode
    found = convolution.convolve(x, weight, **geometry, before=before, out=expected.shape[2:], mode=mode)
    assert largest_error(found, expected.detach()) <= TOLERANCE
    if mode == "zeros":
        cotangent = RANDOM.normal(size=expected.shape)
        expected.backward(torch.tensor(cotangent))
        back = convolution.convolution_gradient(cotangent, weight, x.shape[2:], **geometry, before=before)
        assert largest_error(back, inputs.grad) <= TOLERANCE


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_normalization_equals_torch(train, momentum, largest_error):
    module = torch.nn.BatchNorm2d(4, momentum=momentum).train(train)
    with torch.no_grad():
        module.weight.normal_()
        module.bias.normal_()
        module.running_var.uniform_(1, 2)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    weights = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    x = RANDOM.normal(size=IMAGES) * 2 + 1
    inputs = torch.tensor(x, requires_grad=True)
    expected = module(inputs)
    cotangent = RANDOM.normal(size=IMAGES)
    expected.backward(torch.tensor(cotangent))
    seen = normalization.statistics(x)
    mean, var = (seen.mean, seen.var) if train else (weights["running_mean"], weights["running_var"])
    found = normalization.normalize(x, mean, np.sqrt(var + 1e-5), weights["weight"], weights["bias"])
    assert largest_error(found, expected.detach()) <= TOLERANCE
    layer = Layer(name="bn", kind="BatchNorm2d", options={"eps": 1e-5})
    assert largest_error(gradients.layer_gradient(layer, weights, x, cotangent, train=train), inputs.grad) <= TOLERANCE
    if train:
        moved = normalization.running(weights["running_var"], [seen.unbiased_var], momentum)
        assert largest_error(moved, module.running_var) <= TOLERANCE


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda value: str(value))
def test_optimizers_equal_torch_from_the_start_and_from_a_state(name, options, largest_error):
    parameter = torch.nn.Parameter(torch.tensor(RANDOM.normal(size=7)))
    optimizer = getattr(torch.optim, name)([parameter], **options)
    start = parameter.detach().numpy().copy()
    given = RANDOM.normal(size=(6, 7))
    steps, states = [], []
    for gradient in given:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        steps.append(parameter.detach().numpy().copy())
        slots = optimizer.state[parameter].items()
        states.append({k: np.broadcast_to(v.numpy().copy(), 7) for k, v in slots if k != "step" and v is not None})
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    rule = rule_of({"name": name.lower()} | group)
    assert rule is not None
    rates = [options["lr"]] * 6
    whole = Stretch(first=1, params=start, slots={}, gradients=list(given), rates=rates)
    assert largest_error(np.stack(simulate(rule, whole)), np.stack(steps)) <= TOLERANCE
    rest = Stretch(first=4, params=steps[2], slots=states[2], gradients=list(given[3:]), rates=rates[3:])
    assert largest_error(np.stack(simulate(rule, rest)), np.stack(steps[3:])) <= TOLERANCE


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_formats_round_as_torch(name):
    x = np.concatenate([RANDOM.normal(size=1000) * 10.0 ** RANDOM.integers(-50, 38, size=1000), [0.0, np.inf, 1e-7]])
    x = x.astype(np.float32).astype(np.float64)  # torch passes through float32 on the way to the narrower ones
    expected = torch.tensor(x).to(getattr(torch, name)).double().numpy()
    assert np.array_equal(FORMATS[name].rounded(x), expected)


def test_ties_of_a_pool_are_those_where_the_choice_matters():
    x = np.array([[[[1.0, 1.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0]]]])
    op = Op(name="max_pool2d", options={"kernel_size": 2})
    assert gradients.tied(op, x).tolist() == [[[[True, True, False, False], [False, True, False, False]]]]
    one = np.ones((1, 1, 1, 2))
    by_choice = {ties: gradients.function_gradient(op, x, one, ties=ties)[0, 0] for ties in ("first", "last", "split")}
    assert by_choice["first"].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    assert by_choice["last"].tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]
    np.testing.assert_allclose(by_choice["split"], [[1 / 3, 1 / 3, 1, 0], [0, 1 / 3, 0, 0]])


def test_pooling_options_may_come_from_a_call(largest_error):
    x = RANDOM.normal(size=IMAGES)
    op = Op(name="max_pool2d", options={"kernel_size": [2, 2], "stride": None, "padding": 0})
    assert largest_error(functions.apply(op, x), F.max_pool2d(torch.tensor(x), 2)) == 0
