"""What is compared with what, how far apart it may be, and which failure is the first."""

from typing import Any

import numpy as np
import pytest

from jaxnn.errors import UserError
from jaxnn.parity.recording import Arrays, Layer, Recording
from jaxnn.parity.verdict import verdict
from jaxnn.parity.verdict.initial import entries as initial_entries
from jaxnn.parity.verdict.judge import BAND_FACTOR, require_same_model
from jaxnn.parity.verdict.tolerances import error, tolerances

RANDOM = np.random.default_rng(0)
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([1e-9, 4.0], [0.0, 4.0], 2.5e-10),  # of the largest, not of the 0
        ([0.1], [0.0], 0.1),  # all zeros: as it is
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([NAN, 1.0], [0.0, 1.0], INF),
        ([0.0, 1.0], [NAN, 1.0], INF),
        ([INF, 1.0], [INF, 2.0], 0.5),
        ([INF, 1.0], [-INF, 1.0], INF),
        ([1.0], [[1.0]], INF),
        ([], [], 0.0),
    ],
)
def test_error(ours: list[Any], theirs: list[Any], expected: float) -> None:
    assert error(np.array(ours), np.array(theirs)) == pytest.approx(expected)


def test_tolerances_are_the_stated_ones() -> None:
    plain = tolerances("float64", batch_norm=False, optimizer={"name": "adam"})
    assert (plain.forward, plain.loss, plain.gradients, plain.optimizer, plain.trajectory) == (
        1e-12, 1e-12, 1e-11, 1e-11, 1e-12,
    )  # fmt: skip
    assert tolerances("float64", batch_norm=True, optimizer={"name": "adam"}).trajectory == 1e-7
    assert tolerances("float64", batch_norm=True, optimizer={"name": "sgd"}).trajectory == 1e-9
    single = tolerances("float32", batch_norm=False)
    assert single.optimizer_at(10) == 10 * single.optimizer_at(1) == 80 * 2.0**-24
    adam = tolerances("float32", batch_norm=False, optimizer={"name": "adam", "betas": [0.9, 0.999]})
    assert adam.optimizer_at(1, way=0.5) == pytest.approx(8 * 2.0**-24 + 0.5 * 2.0**-24 / 0.001)


LAYERS = (Layer(name="a", kind="Linear", path="a"), Layer(name="b", kind="Linear", path="b"))


def _recording(framework: Any, arrays: Arrays, **fields: Any) -> Recording:
    layers = LAYERS
    return Recording(framework=framework, precision="float64", train=True, layers=layers, arrays=arrays, **fields)


def _arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    bound = 0.5
    arrays = {"inputs": random.normal(size=(3, 4)), "targets": np.arange(3), "outputs": random.normal(size=(3, 4))}
    for name in ("a", "b"):
        arrays |= {f"weight/{name}.weight": random.uniform(-bound, bound, (4, 4))}
        arrays |= {f"forward/{name}/{what}": random.normal(size=(3, 4)) for what in ("input", "output")}
        arrays |= {f"backward/{name}": random.normal(size=(3, 4))}
        arrays |= {f"gradient/{name}.weight": random.normal(size=(4, 4))}
    return arrays | {"loss": np.array(1.5), "gradient/inputs": random.normal(size=(3, 4))}


def _port(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    alone = {key.replace("forward/", "alone/"): value for key, value in arrays.items() if key.startswith("forward/")}
    return arrays | alone | {"alone/outputs": arrays["outputs"]}


@pytest.mark.parametrize(
    ("changed", "level", "name", "alone"),
    [
        (["weight/b.weight"], "weights", "b.weight", False),
        (["alone/b/output", "forward/b/output", "outputs", "loss"], "forward", "b", True),
        (["alone/b/input", "alone/a/output"], "forward", "a", True),
        (["alone/b/input", "forward/b/input"], "forward", "b", True),
        (["forward/a/output"], "forward", "a", False),
        (["loss", "gradient/a.weight"], "loss", "loss", False),
        (["backward/a", "gradient/a.weight"], "gradients", "a", False),
        (["gradient/b.weight", "backward/a"], "gradients", "b.weight", False),
    ],
    ids=str,
)
def test_the_first_divergence(changed: list[str], level: str, name: str, alone: bool) -> None:
    left, right = _arrays(), _port(_arrays())
    right |= {key: right[key] + 1e-6 for key in changed}
    report = verdict(_recording("torch", left), _recording("jax", right), (), title="")
    first = report.first_divergence
    assert first is not None
    assert (first.level, first.torch_name, first.alone, first.nnx_path) == (
        level,
        name,
        alone,
        name.partition(".")[0] if name != "loss" else "",
    )


def test_equal_recordings_pass_and_own_limits_replace_the_stated_ones() -> None:
    left, right = _recording("torch", _arrays()), _port(_arrays())
    assert verdict(left, _recording("jax", right), (), title="").ok
    off = _recording("jax", right | {"outputs": right["outputs"] + 1e-6})
    assert not verdict(left, off, (), title="").ok
    assert verdict(left, off, (), title="", atol=1e-5).ok
    assert verdict(left, off, (), title="", rtol=1e-5).ok
    assert not verdict(left, off, (), title="", atol=1e-8, rtol=1e-9).ok


Pair = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def _steps(count: int, *, drift: float = 0.0, optimizer: float = 0.0) -> list[Pair]:
    pairs: list[Pair] = []
    for step in range(1, count + 1):
        theirs = {
            "loss": np.array(1.0),
            "gradient/a.weight": np.ones((4, 4)),
            "parameter/a.weight": np.full((4, 4), 2.0),
        }
        ours = theirs | {"parameter/a.weight": np.full((4, 4), 2.0) * (1 + drift * step)}
        ours |= {"given/parameter/a.weight": np.full((4, 4), 2.0) * (1 + optimizer * (step > 4))}
        pairs.append((theirs, ours))
    return pairs


def test_steps_fail_where_they_leave_the_tolerance_or_pytorch_s_band() -> None:
    left, right = _recording("torch", _arrays(), steps=9), _recording("jax", _port(_arrays()))

    def first(**options: Any) -> tuple[str, int | None] | None:
        found = verdict(left, right, _steps(9, **options.pop("off")), title="", **options).first_divergence
        return None if found is None else (found.level, found.step)

    assert first(off={}) is None
    assert first(off={"drift": 1e-12 / 4.5}) == ("trajectory", 5)
    assert first(off={"drift": 1e-9, "optimizer": 1e-9}) == ("optimizer", 5)
    band = {"parameter/a.weight": np.full(9, 7.5e-9 / BAND_FACTOR)}
    assert first(off={"drift": 1e-9}, band=band) == ("trajectory", 8)
    assert first(off={"drift": 1e-9, "optimizer": 1e-9}, band=band) == ("optimizer", 5)  # a band excuses no optimizer


def test_gradients_that_are_rounding_do_not_fail_a_trajectory() -> None:
    left, right = _recording("torch", _arrays(), steps=2), _recording("jax", _port(_arrays()))
    pairs = []
    for theirs, ours in _steps(2):
        noise = {"gradient/b.bias": np.full(2, 1e-17), "state/b.bias/exp_avg": np.full(2, 1e-18)}
        pairs.append((theirs | noise, ours | {"state/b.bias/exp_avg": np.full(2, -1e-18)}))
    report = verdict(left, right, pairs, title="")
    assert report.ok
    assert [entry.torch_name for entry in report.entries if entry.advisory] == ["b.bias"]


@pytest.mark.parametrize(
    ("drawn", "class_name", "fails", "noted"),
    [
        (RANDOM.uniform(-0.5, 0.5, (64, 4)), "jaxnn.nn.linear.Linear", False, False),
        (RANDOM.uniform(-0.3, 0.3, (64, 4)), "jaxnn.nn.linear.Linear", True, False),
        (RANDOM.uniform(-0.51, 0.51, (64, 4)), "jaxnn.nn.linear.Linear", True, False),
        (RANDOM.normal(0, 0.5 / 3**0.5, (64, 4)), "jaxnn.nn.linear.Linear", True, False),
        (np.clip(RANDOM.normal(0, 0.568, (64, 4)), -1.13, 1.13), "flax.nnx.nn.linear.Linear", False, True),
        (np.clip(RANDOM.normal(0, 0.568, (64, 4)), -1.13, 1.13), "jaxnn.nn.linear.Linear", True, False),
        (np.zeros((64, 4)), "jaxnn.nn.linear.Linear", True, False),
    ],
    ids=["PyTorch's", "too narrow", "beyond the bound", "normal", "Flax's own", "Flax's in a jaxnn layer", "zeros"],
)
def test_initialization(drawn: np.ndarray, class_name: str, fails: bool, noted: bool) -> None:
    layer = Layer(name="a", kind="Linear", path="a", options={"class": class_name})
    default = RANDOM.uniform(-0.5, 0.5, (64, 4))
    trained = default * 3
    for reference, compared in ((default, True), (trained, False)):
        left = Recording(framework="torch", precision="float64", train=True, layers=(layer,),
                         arrays={"weight/a.weight": reference})  # fmt: skip
        right = Recording(framework="jax", precision="float64", train=True, layers=(layer,),
                          arrays={"initial/a.weight": drawn})  # fmt: skip
        found = list(initial_entries(left, right))
        assert len(found) == compared  # PyTorch's own weights must be at their default to say anything
        if compared:
            assert found[0].failed == fails
            assert (found[0].advisory and not found[0].within) == noted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float32"}, "precision: float64 and float32"),
        ({"train": False}, "mode"),
        ({"steps": 4}, "0 steps and 4 steps"),
    ],
)
def test_recordings_of_other_runs_are_refused(change: dict[str, Any], message: str) -> None:
    left = _recording("torch", _arrays())
    with pytest.raises(UserError, match=message):
        require_same_model(left, Recording(**vars(left) | change))
