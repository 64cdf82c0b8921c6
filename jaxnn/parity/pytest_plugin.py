"""The fixture ``parity`` for the tests of a port.

def test_port(parity):
    parity(TorchNet(), NnxNet(nnx.Rngs(0)), (inputs, targets), loss="cross_entropy")
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("jaxnn").addoption(
        "--parity-reports", metavar="DIR", type=Path, help="write an HTML report of each comparison that fails to DIR"
    )


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``jaxnn.parity.compare``, which fails the test with the report's table if the two models differ."""

    def check(*models: Any, **options: Any) -> Any:
        from jaxnn.parity import compare

        report = compare(*models, **options)
        if report.ok:
            return report
        folder = request.config.getoption("--parity-reports")
        where = ""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"[^\w.-]+", "-", request.node.nodeid)
            page = folder / f"{name}.html"
            report.save(page)
            where = f"\n\n{page}"
        pytest.fail(report.table() + where, pytrace=False)

    return check
