"""What a command that runs in the tests' own process must not leave to the tests after it."""

import os
from collections.abc import Iterator

import pytest

# jaxnn.threads chooses them for a process that has one command to do: a child of a later test would inherit them.
_CHOSEN = {name: os.environ.get(name) for name in ("NPROC", "JAX_NUM_CPU_DEVICES")}


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    _restore()
    yield
    _restore()


def _restore() -> None:
    for name, value in _CHOSEN.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
