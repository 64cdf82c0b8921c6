"""The sweep: jaxnn against PyTorch eager over batch sizes, in one process each where XLA's threads allow it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from .cases import Case
from .measure import in_turns
from .rivals import REFERENCE
from .settings import Settings
from .worker import Workers

_RIVALS = (REFERENCE, "jaxnn")


def sweep(names: tuple[str, ...], sizes: tuple[int, ...], settings: Settings) -> Iterator[dict[str, Any]]:
    """The row of each recipe and size, as ``measure`` gives it, without memory."""
    settings = dataclasses.replace(settings, rivals=_RIVALS)
    for name in names:
        with Workers(_RIVALS, settings) as workers:
            for size in sizes:
                yield in_turns(Case(name, size), settings, workers, _RIVALS)
