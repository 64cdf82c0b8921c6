import numpy as np
import pytest

from jaxnn.parity.recording import Layer, Op

RANDOM = np.random.default_rng(0)
IMAGES = np.round(RANDOM.normal(size=(6, 2, 4, 4)))  # coarse: many ties, many zeros
WEIGHT = RANDOM.normal(size=(3, 8))
BACK = RANDOM.normal(size=(6, 3))
POOL, RELU, FLATTEN = (
    Op(name="max_pool2d", options={"kernel_size": 2}),
    Op(name="relu"),
    Op(name="flatten", options={"start_dim": 1}),
)


def _windows(x):
    """(position, N, C, 2, 2)"""
    return np.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def _images(windows):
    x = np.zeros(IMAGES.shape)
    for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        x[:, :, i::2, j::2] = windows[k]
    return x


def _pooled(x, share):
    highest = _windows(x) == _windows(x).max(0)
    given = (BACK @ WEIGHT).reshape(6, 2, 2, 2)
    return _images(share(highest) * given)


def _first(highest):
    return highest & (np.cumsum(highest, axis=0) == 1)


def _split(highest):
    return highest / highest.sum(0)


def _halved(highest):
    """As jnp.maximum of the maxima of two pairs does."""
    rows = [highest[k : k + 2] / np.maximum(highest[k : k + 2].sum(0), 1) for k in (0, 2)]
    either = np.stack([pair.sum(0) for pair in rows])
    return np.concatenate([pair * share for pair, share in zip(rows, either / either.sum(0), strict=True)])


@pytest.fixture
def of_gradients(diagnosed, entry):
    """The causes of another gradient for the inputs of ``ops`` and a linear layer."""

    def run(ops, entered, theirs, ours, *, inputs=IMAGES, back=BACK):
        layers = (Layer(name="fc", kind="Linear", before=ops),)
        both = {"inputs": inputs, "weight/fc.weight": WEIGHT, "backward/fc": BACK}
        both |= {
            f"{kind}/fc/{what}": x
            for kind in ("forward", "alone")
            for what, x in (("input", entered), ("output", BACK))
        }
        right = both | {"gradient/inputs": ours, "backward/fc": back}
        failed = entry("gradients", "inputs", "gradient")
        return diagnosed(both | {"gradient/inputs": theirs}, right, failed, layers=layers)

    return run


POOLED = _windows(IMAGES).max(0).reshape(6, 8)


@pytest.mark.parametrize("share", [_split, _halved, lambda h: _first(h[::-1])[::-1], lambda h: h],
                         ids=["split", "halved twice", "the last", "all"])  # fmt: skip
def test_ties_of_a_pool(share, of_gradients):
    found = of_gradients((POOL, FLATTEN), POOLED, _pooled(IMAGES, _first), _pooled(IMAGES, share))
    assert [d.cause for d in found] == ["pool-ties"]


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_relu_at_zero(slope, of_gradients):
    x = IMAGES[:, :, :2, :2]
    given = (BACK @ WEIGHT).reshape(x.shape)
    theirs, ours = given * (x > 0), given * np.where(x == 0, slope, x > 0)
    found = of_gradients((RELU, FLATTEN), np.maximum(x, 0).reshape(6, 8), theirs, ours, inputs=x)
    assert [d.cause for d in found] == ["activation"]


def test_nothing_is_said_where_gradients_follow_or_nothing_explains_them(of_gradients):
    theirs = _pooled(IMAGES, _first)
    ops = (POOL, FLATTEN)
    assert of_gradients(ops, POOLED, theirs, theirs * 1.1) == ()
    assert of_gradients(ops, POOLED, theirs, theirs + 1e-3 * RANDOM.normal(size=IMAGES.shape)) == ()
    # A gradient that was another one already, and went its way as PyTorch's does.
    assert of_gradients(ops, POOLED, theirs, 2 * theirs, back=2 * BACK) == ()
    # PyTorch's own does not follow from what was recorded: something is missing there.
    assert of_gradients(ops, POOLED, theirs * 1.1, _pooled(IMAGES, _split)) == ()
