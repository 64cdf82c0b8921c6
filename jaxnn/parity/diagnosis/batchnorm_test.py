import numpy as np
import pytest

from jaxnn.parity.recording import Layer

RANDOM = np.random.default_rng(0)
CHANNELS = 4
X = RANDOM.normal(size=(8, CHANNELS, 3, 3)) * RANDOM.uniform(0.1, 2, size=(CHANNELS, 1, 1)) + 3
COUNT = X.size // CHANNELS
MEAN, VAR = X.mean((0, 2, 3)), X.var((0, 2, 3))
BN = Layer(name="bn", kind="BatchNorm2d", options={"eps": 1e-5, "momentum": 0.1, "affine": True})
WEIGHTS = {
    "weight": RANDOM.normal(size=CHANNELS),
    "bias": RANDOM.normal(size=CHANNELS),
    "running_mean": RANDOM.normal(size=CHANNELS),
    "running_var": RANDOM.uniform(0.5, 2, size=CHANNELS),
    "num_batches_tracked": np.array(2),
}


def _normalized(mean=MEAN, var=VAR, *, inside=1e-5, outside=0.0):
    scale = WEIGHTS["weight"] / (np.sqrt(var + inside) + outside)
    return (X - mean[:, None, None]) * scale[:, None, None] + WEIGHTS["bias"][:, None, None]


KEPT = WEIGHTS["running_mean"], WEIGHTS["running_var"]
OUTPUTS = {
    "eps as in Keras": (_normalized(inside=1e-3), "batchnorm-eps"),
    "an odd eps": (_normalized(inside=3.7e-4), "batchnorm-eps"),
    "eps outside the root": (_normalized(inside=0, outside=1e-5), "batchnorm-eps"),
    "no eps": (_normalized(inside=0), "batchnorm-eps"),
    "running statistics": (_normalized(*KEPT), "train-eval-mode"),
    "unbiased variance": (_normalized(var=VAR * COUNT / (COUNT - 1)), "batchnorm-running-variance"),
    "without the bias": (_normalized() - WEIGHTS["bias"][:, None, None], "missing-bias"),
    "float32 statistics": (_normalized(*(s.astype(np.float32).astype(float) for s in (MEAN, VAR))), "dtype"),
    "float32 result": (_normalized().astype(np.float32), "dtype"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_in_training(case, of_layer):
    observed, cause = OUTPUTS[case]
    assert [d.cause for d in of_layer(BN, WEIGHTS, X, _normalized(), observed)] == [cause]


def test_the_batch_s_statistics_in_evaluation(of_layer):
    found = of_layer(BN, WEIGHTS, X, _normalized(*KEPT), _normalized(), train=False)
    assert [d.cause for d in found] == ["train-eval-mode"]
    found = of_layer(BN, WEIGHTS, X, _normalized(*KEPT), _normalized(inside=1e-3), train=False)
    assert {d.cause for d in found} == {"train-eval-mode", "batchnorm-eps"}


def test_of_one_channel_no_eps_is_solved_for(of_layer):
    x = X[:, :1]
    weights = {name: value[:1] for name, value in WEIGHTS.items() if name != "num_batches_tracked"}
    result = (x - x.mean()) * 1.2
    assert of_layer(BN, weights, x, result, result * 1.01) == ()


def test_nothing_is_said_of_other_outputs(of_layer):
    for strange in (
        _normalized() * 1.01,
        _normalized() + 1e-6 * RANDOM.normal(size=X.shape),
        _normalized(mean=MEAN + 1),
    ):
        assert of_layer(BN, WEIGHTS, X, _normalized(), strange) == ()


@pytest.fixture
def of_buffers(diagnosed, entry):
    """The diagnoses of running statistics after one pass in training."""

    def run(reference, observed, *, layer=BN, train=True):
        left = {f"weight/bn.{name}": value for name, value in WEIGHTS.items()} | {"forward/bn/input": X}
        right = {"alone/bn/input": X}
        for arrays, (mean, var) in ((left, reference), (right, observed)):
            arrays |= {"buffer/bn.running_mean": mean, "buffer/bn.running_var": var}
        entries = [
            entry("buffers", f"bn.{name}", "buffer")
            for name, theirs, ours in zip(("running_mean", "running_var"), reference, observed, strict=True)
            if not np.allclose(theirs, ours, rtol=1e-12, atol=0)
        ]
        return diagnosed(left, right, *entries, layers=(layer,), train=train)

    return run


def _moved(momentum=0.1, *, unbiased=True):
    var = VAR * COUNT / (COUNT - 1) if unbiased else VAR
    return tuple((1 - momentum) * old + momentum * new for old, new in zip(KEPT, (MEAN, var), strict=True))


BUFFERS = {
    "flax's momentum": (_moved(0.9), {"batchnorm-momentum"}),
    "some momentum": (_moved(0.237), {"batchnorm-momentum"}),
    "biased variance": (_moved(unbiased=False), {"batchnorm-running-variance"}),
    "flax's default of both": (_moved(0.01, unbiased=False), {"batchnorm-momentum", "batchnorm-running-variance"}),
    "unmoved": (KEPT, {"train-eval-mode"}),
    "float32": (tuple(x.astype(np.float32) for x in _moved()), {"dtype"}),
    "biased and float32": (
        tuple(x.astype(np.float32) for x in _moved(unbiased=False)),
        {"batchnorm-running-variance", "dtype"},
    ),
    "shifted": (tuple(x + 0.1 for x in _moved()), set()),
}


@pytest.mark.parametrize("case", BUFFERS)
def test_running_statistics(case, of_buffers):
    observed, causes = BUFFERS[case]
    assert {d.cause for d in of_buffers(_moved(), observed)} == causes


def test_the_evidence_says_what_was_measured(of_buffers):
    (found,) = of_buffers(_moved(), _moved(unbiased=False))
    assert f"(n - 1) / n = {(COUNT - 1) / COUNT:.6g}" in found.evidence and f"(n = {COUNT})" in found.evidence
    (found,) = of_buffers(_moved(), _moved(0.9))
    assert "moved by 0.9 of the way" in found.evidence and "momentum=0.9) is PyTorch's momentum=0.1" in found.fix


def test_a_plain_average(of_buffers):
    average = Layer(name="bn", kind="BatchNorm2d", options={"eps": 1e-5, "momentum": None})
    assert [d.cause for d in of_buffers(_moved(1 / 3), _moved(0.1), layer=average)] == ["batchnorm-momentum"]
    biased = of_buffers(_moved(1 / 3), _moved(1 / 3, unbiased=False), layer=average)
    assert [d.cause for d in biased] == ["batchnorm-running-variance"]


def test_statistics_that_move_in_evaluation(of_buffers):
    assert [d.cause for d in of_buffers(KEPT, _moved(0.1, unbiased=False), train=False)] == ["train-eval-mode"]
