"""Proof that parity can fail: every planted fault is detected, found where it is and named; without it, all is well."""

import functools
from typing import Any

import pytest

from jaxnn.parity.faults import FAULTS, Fault, Pair, controls, run
from parity_tests import unnamed_faults

CAUSES = {
    "activation",
    "batchnorm-eps",
    "batchnorm-momentum",
    "batchnorm-running-variance",
    "dampening",
    "dropout-scale",
    "dtype",
    "flatten-order",
    "ignore-index",
    "initialisation",
    "label-smoothing",
    "learning-rate-schedule",
    "loss-reduction",
    "matmul-precision",
    "missing-bias",
    "nesterov",
    "optimizer-eps-placement",
    "padding",
    "pool-padding",
    "pool-ties",
    "train-eval-mode",
    "weight-decay-coupling",
    "weight-layout",
}
FAST = {
    "GELU by tanh, Flax's default, for the exact one",
    "kaiming_normal weights",
    "padding='SAME' with stride 2, which pads after the image alone",
    "images flattened as (height, width, channels)",
    "max pool by reshape and max, which splits ties",
    "Flax's BatchNorm, which tracks the biased variance",
    "dropout that does not scale what it keeps",
    "ignored labels counted in the mean",
    "operands of a product rounded to bfloat16",
    "decoupled decay (optax.adamw) for Adam's weight_decay",
    "learning rate reduced one step late",
}
NAMED = 0.9  # the share of faults whose cause must come first among the diagnoses


@pytest.fixture(autouse=True)
def precision() -> None:
    """Models are built as anyone builds them, in float32: the comparison sets its precision by itself."""


@functools.cache
def row(fault: Fault) -> dict[str, Any]:
    return run(fault)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=[] if fault.name in FAST else [pytest.mark.slow]) for fault in FAULTS],
)
def test_a_planted_fault_is_detected_where_it_is(fault: Fault) -> None:
    found = row(fault)
    assert found["detected_by"], f"{fault.name}: missed"
    assert found["location_right"], f"{fault.name}: located at {found['located']!r}"
    if fault.name in FAST:
        assert found["correct"], f"{fault.name}: named {found['diagnosis']}, not {fault.cause}"


@pytest.mark.slow
def test_nine_faults_of_ten_are_named_rightly() -> None:
    wrong = [found for found in map(row, FAULTS) if not found["correct"]]
    assert len(wrong) <= (1 - NAMED) * len(FAULTS), "\n".join(str(found) for found in wrong)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in unnamed_faults.FAULTS])
def test_a_fault_of_no_known_cause_is_located_and_given_none(fault: Fault) -> None:
    found = row(fault)
    assert found["location_right"], f"{fault.name}: located at {found['located']!r}"
    assert found["diagnosis"] == []


FAST_CONTROLS = {"MLP", "CNN", "MLP with BatchNorm", "MLP with F.dropout"}


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, id=pair.model, marks=[] if pair.model in FAST_CONTROLS else [pytest.mark.slow])
        for pair in (*controls(), unnamed_faults.PAIR, unnamed_faults.TOKENS_PAIR)
    ],
)
def test_without_a_fault_all_is_well(pair: Pair) -> None:
    report = pair.compare()
    report.raise_if_failed()
    assert report.diagnoses == ()


def test_every_cause_is_planted_and_every_name_once() -> None:
    assert {fault.cause for fault in FAULTS} == CAUSES
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30
    assert len({pair.model for pair in controls()}) == len(controls())
    assert FAST <= {fault.name for fault in FAULTS} and FAST_CONTROLS <= {pair.model for pair in controls()}
