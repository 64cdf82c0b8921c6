import dataclasses

import numpy as np
import pytest

from jaxnn.parity.recording import Layer, Op

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(8, 6))
WEIGHTS = {name: RANDOM.normal(size=(6, 6)) for name in ("a", "b", "c")}
BIASES = {name: RANDOM.normal(size=6) for name in WEIGHTS}
LAYERS = tuple(Layer(name=name, kind="Linear", before=(Op(name="relu"),) if name != "a" else ()) for name in WEIGHTS)


def _outputs(x, name, *, bias=True):
    return x @ WEIGHTS[name].T + (BIASES[name] if bias else 0)


def _relu(x):
    return np.maximum(x, 0)


def _reference():
    """The arrays of three linear layers with relu between them, and what each layer is given."""
    arrays, given, x = {"inputs": X}, {}, X
    for name in WEIGHTS:
        given[name] = x
        arrays |= {f"weight/{name}.weight": WEIGHTS[name], f"weight/{name}.bias": BIASES[name]}
        arrays |= {f"forward/{name}/input": x, f"forward/{name}/output": _outputs(x, name)}
        x = _relu(_outputs(x, name))
    return arrays, given


LEFT, GIVEN = _reference()


@pytest.fixture
def of_network(diagnosed, entry):
    """The diagnoses of that network; ``faults`` replaces arrays of JAX's, by key, and fails what it replaces."""

    def run(faults, *more):
        ours = {key.replace("forward", "alone"): value for key, value in LEFT.items()} | faults
        keys = [f"alone/{name}/{what}" for name in WEIGHTS for what in ("input", "output")]
        failed = [entry("forward", *key.split("/")[1:], alone=True) for key in keys if key in faults]
        return diagnosed(LEFT, ours, *failed, *more, layers=LAYERS)

    return run


def _no_bias(name):
    return {f"alone/{name}/output": _outputs(GIVEN[name], name, bias=False)}


def _tanh(name, before):
    return {f"alone/{name}/input": np.tanh(_outputs(GIVEN[before], before))}


def test_without_a_failure_nothing_is_said(of_network):
    assert of_network({}) == ()


def test_a_difference_that_nothing_explains_is_left_alone(of_network):
    noise = RANDOM.normal(size=(8, 6))
    assert of_network({"alone/b/output": noise, "alone/c/input": noise}) == ()


def test_two_faults_in_the_order_of_the_layers(of_network):
    found = of_network(_tanh("b", "a") | _no_bias("c"))
    assert [d.cause for d in found] == ["activation", "missing-bias"]
    found = of_network(_no_bias("a") | _tanh("c", "b"))
    assert [d.cause for d in found] == ["missing-bias", "activation"]


def test_one_fault_in_two_places_is_one_diagnosis(of_network):
    (found,) = of_network(_no_bias("a") | _no_bias("c"))
    assert found.cause == "missing-bias"
    assert found.evidence.startswith("a: ") and found.evidence.endswith("The same at c")


def test_at_most_two(of_network):
    transposed = {"alone/b/output": GIVEN["b"] @ WEIGHTS["b"] + BIASES["b"]}
    found = of_network(_no_bias("a") | transposed | _tanh("c", "b"))
    assert [d.cause for d in found] == ["missing-bias", "weight-layout"]


def test_an_unexplained_place_does_not_hide_the_next(of_network):
    found = of_network({"alone/a/output": RANDOM.normal(size=(8, 6))} | _no_bias("c"))
    assert [d.cause for d in found] == ["missing-bias"]


def test_failures_within_the_whole_pass_follow_from_others(of_network, entry):
    whole = [
        entry("forward", "c", "output"),
        entry("loss", "loss", "loss"),
        entry("trajectory", "a.weight", "parameter"),
    ]
    found = of_network(_no_bias("a") | {"forward/c/output": RANDOM.normal(size=(8, 6))}, *whole)
    assert [d.cause for d in found] == ["missing-bias"]


def test_advisory_entries_are_no_failures(diagnosed, entry):
    noted = dataclasses.replace(entry("init", "a.bias", "distribution"), advisory=True)
    assert diagnosed({"weight/a.bias": BIASES["a"]}, {"initial/a.bias": np.zeros(6)}, noted) == ()


def test_without_layers_alone_only_the_first_failure_counts(diagnosed, entry):
    inner, x = _outputs(X, "a"), X
    left = {"inputs": x, "weight/a.weight": WEIGHTS["a"], "weight/a.bias": BIASES["a"]}
    left |= {"forward/a/input": x, "forward/a/output": inner, "forward/b/input": _relu(inner)}
    right = {"forward/a/output": inner - BIASES["a"], "forward/b/input": np.tanh(inner - BIASES["a"])}
    failed = entry("forward", "a", "output"), entry("forward", "b", "input")
    assert [d.cause for d in diagnosed(left, right, *failed, layers=LAYERS[:2])] == ["missing-bias"]


def _draws(shape, kind):
    fan_in = shape[1]
    draws = {
        "torch": lambda: RANDOM.uniform(-1, 1, size=shape) / np.sqrt(fan_in),
        "normal": lambda: RANDOM.normal(size=shape) / np.sqrt(fan_in),
        "zeros": lambda: np.zeros(shape),
        "glorot": lambda: RANDOM.uniform(-1, 1, size=shape) * np.sqrt(6 / sum(shape)),
    }
    return draws[kind]()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("normal", "a normal distribution of deviation"),
        ("zeros", "JAX starts from zeros"),
        ("glorot", "(Glorot)"),
    ],
)
def test_initialisation(kind, said, diagnosed, entry):
    shape = (50, 40)
    failed = entry("init", "fc.weight", "distribution")
    left, right = {"weight/fc.weight": _draws(shape, "torch")}, {"initial/fc.weight": _draws(shape, kind)}
    (found,) = diagnosed(left, right, failed, layers=(Layer(name="fc", kind="Linear"),))
    assert found.cause == "initialisation" and said in found.evidence
    assert "PyTorch from a uniform distribution" in found.evidence


def test_other_initial_values_come_after_what_changes_results(of_network, entry):
    faults = _no_bias("c") | {"initial/a.bias": np.zeros(6)}
    found = of_network(faults, entry("init", "a.bias", "distribution"))
    assert [d.cause for d in found] == ["missing-bias", "initialisation"]


WEIGHT = RANDOM.normal(size=(6, 6))
CARRIED = {
    "transposed": (WEIGHT, WEIGHT.T, "weight-layout"),
    "narrower": (WEIGHT, WEIGHT.astype(np.float32), "dtype"),
    "another": (WEIGHT, RANDOM.normal(size=(6, 6)), None),
}


@pytest.mark.parametrize("case", CARRIED)
def test_weights_as_they_were_carried_over(case, diagnosed, entry):
    theirs, ours, cause = CARRIED[case]
    found = diagnosed({"weight/fc.weight": theirs}, {"weight/fc.weight": ours}, entry("weights", "fc.weight", "value"))
    assert [d.cause for d in found] == ([] if cause is None else [cause])


def test_what_a_layer_makes_of_weights_that_arrived_otherwise_is_no_second_fault(of_network, entry):
    narrow = WEIGHTS["b"].astype(np.float32).astype(np.float64)
    output = GIVEN["b"] @ narrow.T + BIASES["b"]
    found = of_network({"weight/b.weight": narrow, "alone/b/output": output}, entry("weights", "b.weight", "value"))
    assert [d.cause for d in found] == ["dtype"]


@pytest.mark.parametrize("jax_has_it", [True, False])
def test_a_bias_that_one_side_does_not_have(jax_has_it, diagnosed, entry):
    with_bias, without = {"weight/fc.bias": np.ones(6), "weight/fc.weight": WEIGHT}, {"weight/fc.weight": WEIGHT}
    left, right = (without, with_bias) if jax_has_it else (with_bias, without)
    (found,) = diagnosed(left, right, entry("weights", "fc.bias", "value"))
    assert found.cause == "missing-bias" and f"use_bias={not jax_has_it}" in found.fix
