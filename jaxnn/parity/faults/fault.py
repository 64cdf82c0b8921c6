"""What a planted fault is: a port that is right, and the one thing that is changed about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flax import nnx

from jaxnn.parity.batches import Batch
from jaxnn.parity.comparison import compare
from jaxnn.parity.report import Level, Report


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A PyTorch model and a right port of it; ``options`` are those of ``compare``, ``loss`` among them.

    ``original`` and the options' functions of PyTorch import torch themselves.
    """

    model: str
    original: Callable[[], Any]
    port: Callable[[], nnx.Module]
    batch: Callable[[], Batch | Sequence[Batch]]
    options: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, port: Callable[[], nnx.Module] | None = None, **options: Any) -> Report:
        """Compares the port, or another one, with these options and ``options``."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            original = self.original()
        return compare(original, (port or self.port)(), self.batch(), **{**self.options, **options})


@dataclass(frozen=True, kw_only=True, eq=False)
class Fault:
    """One porting fault in ``pair``: another ``port``, or other ``options`` of ``compare`` (the JAX side of a loss, the
    optax transformation, the rules).

    It is located rightly where the first divergence is of ``level``, at one of the layers or tensors ``where`` (any,
    if empty) and, in training, at ``step``.
    """

    name: str
    cause: str
    pair: Pair
    level: Level
    where: tuple[str, ...] = ()
    step: int | None = None
    port: Callable[[], nnx.Module] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def compare(self) -> Report:
        return self.pair.compare(self.port, **self.options)
