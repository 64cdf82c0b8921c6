import numpy as np
import pytest

from jaxnn.parity.diagnosis.measure import FORMATS
from jaxnn.parity.recording import Layer

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(4, 3, 9, 9))
KERNEL, SHIFT = RANDOM.normal(size=(5, 3, 3, 3)), RANDOM.normal(size=5)
CONV = Layer(
    name="conv",
    kind="Conv2d",
    options={"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1, "padding_mode": "zeros"},
)
ROWS = RANDOM.normal(size=(8, 6))
SQUARE, BIAS = RANDOM.normal(size=(6, 6)), RANDOM.normal(size=6)
LINEAR = Layer(name="fc", kind="Linear")


def _options(**changed):
    return Layer(name="conv", kind="Conv2d", options=CONV.options | changed)


@pytest.fixture
def of_conv(of_layer, correlated):
    """The causes of a convolution with a bias; ``theirs`` and ``ours`` are its padding, stride and mode."""

    def run(layer, theirs, ours, *, kernel=KERNEL, shift=SHIFT):
        reference = correlated(IMAGES, KERNEL, **theirs) + SHIFT[:, None, None]
        observed = correlated(IMAGES, kernel, **ours) + shift[:, None, None]
        return of_layer(layer, {"weight": KERNEL, "bias": SHIFT}, IMAGES, reference, observed)

    return run


ONE, TWO = ((1, 1), (1, 1)), ((2, 2), (2, 2))
PADDINGS = {
    "SAME for none": (_options(padding=[0, 0]), {}, {"pads": ONE}),
    "VALID for one": (CONV, {"pads": ONE}, {}),
    "all of it after the image": (CONV, {"pads": ONE}, {"pads": ((0, 2), (0, 2))}),
    "all of it before, on one axis": (CONV, {"pads": ONE}, {"pads": ((2, 0), (1, 1))}),
    "SAME with a stride": (
        _options(stride=[2, 2]),
        {"pads": ONE, "stride": 2},
        {"pads": ((0, 2), (0, 2)), "stride": 2},
    ),
    "zeros for reflection": (_options(padding_mode="reflect"), {"pads": ONE, "mode": "reflect"}, {"pads": ONE}),
    "wrapped for zeros": (CONV, {"pads": ONE}, {"pads": ONE, "mode": "wrap"}),
    "as PyTorch's 'same', shifted": (_options(padding="same"), {"pads": ONE}, {"pads": ((2, 0), (2, 0))}),
}


@pytest.mark.parametrize("case", PADDINGS)
def test_padding(case, of_conv):
    (found,) = of_conv(*PADDINGS[case])
    assert found.cause == "padding" and "conv: padding ((" in found.evidence


def test_a_missing_bias(of_conv, of_layer):
    same = {"pads": ONE}
    assert [d.cause for d in of_conv(CONV, same, same, shift=np.zeros(5))] == ["missing-bias"]
    reference = ROWS @ SQUARE.T
    weights = {"weight": SQUARE}
    assert [d.cause for d in of_layer(LINEAR, weights, ROWS, reference, reference + BIAS)] == ["missing-bias"]


def test_padding_and_a_missing_bias(of_conv):
    found = of_conv(CONV, {"pads": ONE}, {"pads": ((0, 2), (0, 2))}, shift=np.zeros(5))
    assert {d.cause for d in found} == {"padding", "missing-bias"}


@pytest.mark.parametrize(
    "kernel",
    [
        KERNEL[:, :, ::-1, ::-1],
        KERNEL[..., ::-1],
        KERNEL.swapaxes(2, 3),
        KERNEL.reshape(3, 3, 3, 5).transpose(3, 2, 0, 1),
    ],
    ids=["flipped", "flipped along the width", "height and width swapped", "reshaped to flax's shape"],
)
def test_layout_of_a_kernel(kernel, of_conv):
    (found,) = of_conv(CONV, {"pads": ONE}, {"pads": ONE}, kernel=kernel)
    assert found.cause == "weight-layout"


def _causes_of_product(of_layer, product, **settings):
    weights = {"weight": SQUARE, "bias": BIAS}
    return [d.cause for d in of_layer(LINEAR, weights, ROWS, ROWS @ SQUARE.T + BIAS, product, **settings)]


def test_layout_of_a_linear_weight(of_layer):
    assert _causes_of_product(of_layer, ROWS @ SQUARE + BIAS) == ["weight-layout"]
    assert set(_causes_of_product(of_layer, ROWS @ SQUARE)) == {"weight-layout", "missing-bias"}


def test_a_kernel_with_rows_as_channels_last(of_layer):
    rows = np.arange(6).reshape(3, 2).T.ravel()
    assert _causes_of_product(of_layer, ROWS @ SQUARE[:, rows].T + BIAS) == ["flatten-order"]


@pytest.mark.parametrize("name", ["bfloat16", "float16", "tfloat32"])
@pytest.mark.parametrize("result", [np.float64, np.float32])
def test_operands_rounded(name, result, of_layer):
    narrow = FORMATS[name].rounded
    product = (narrow(ROWS) @ narrow(SQUARE).T).astype(result) + BIAS
    assert _causes_of_product(of_layer, product) == ["matmul-precision"]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_results_of_another_format(name, precision, of_layer):
    found = _causes_of_product(of_layer, FORMATS[name].rounded(ROWS @ SQUARE.T + BIAS), precision=precision)
    assert found == ([] if name == precision else ["dtype"])


def test_an_activation_inside_the_layer(of_layer):
    assert _causes_of_product(of_layer, np.tanh(ROWS @ SQUARE.T + BIAS)) == ["activation"]


def test_nothing_is_said_of_what_nothing_explains(of_layer, of_conv):
    product = ROWS @ SQUARE.T + BIAS
    for strange in (product * 1.01, product + 1e-6 * RANDOM.normal(size=product.shape), product[:, ::-1], -product):
        assert _causes_of_product(of_layer, strange) == []
    same = {"pads": ONE}
    assert of_conv(CONV, same, same, kernel=KERNEL + 1e-3 * RANDOM.normal(size=KERNEL.shape)) == ()
    assert of_conv(CONV, same, {"pads": TWO, "stride": 2}) == ()  # a stride is none of the known causes
    assert of_conv(CONV, same, same, shift=SHIFT * 1.1) == ()
    assert _causes_of_product(of_layer, np.full_like(product, np.nan)) == []


def test_a_large_layer_is_tried_in_part(of_layer):
    weight = RANDOM.normal(size=(600, 3000))
    x = RANDOM.normal(size=(32, 3000))
    reference = x @ weight.T
    observed = reference.copy()
    observed[17, 555] += 1  # the one number that differs is among those that are looked at
    for strange in (observed, np.full_like(reference, np.nan)):
        assert of_layer(LINEAR, {"weight": weight}, x, reference, strange) == ()
    rounded = FORMATS["bfloat16"].rounded
    found = of_layer(LINEAR, {"weight": weight}, x, reference, rounded(x) @ rounded(weight).T)
    assert [d.cause for d in found] == ["matmul-precision"]
