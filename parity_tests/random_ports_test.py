"""No false alarm: random networks whose ports are right, trained in random ways, are within tolerance everywhere."""

import pytest

from parity_tests.random_ports.ports import random_port

FAST, ALL = 2, 50


@pytest.fixture(autouse=True)
def precision() -> None:
    """Models are built as anyone builds them, in float32: the comparison sets its precision by itself."""


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[] if seed < FAST else [pytest.mark.slow]) for seed in range(ALL)]
)
def test_a_right_port_raises_no_alarm(seed: int) -> None:
    report = random_port(seed).compare()
    assert report.ok, f"seed {seed}\n{report.table()}"
    assert report.diagnoses == (), f"seed {seed}\n{report.table()}"
