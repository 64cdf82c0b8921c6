"""A random network in the making, described once and built twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from flax import nnx
from jax import Array
from torch import Tensor, nn

from jaxnn.parity import Rule

Choice = TypeVar("Choice")


class Part(NamedTuple):
    """A layer or a function: ``theirs`` makes a torch module or a function of (x, training), ``ours`` an NNX module or
    a function of x."""

    theirs: Callable[[], Any]
    ours: Callable[[nnx.Rngs], Any]


@dataclass
class Network:
    """``parts`` by PyTorch's names, called in the ``order`` of names; a name that comes twice is called twice.

    ``shape``: of one example after the last part, in PyTorch's layout. ``image``: what was flattened channels last,
    until a layer takes its features. ``features_last``: in PyTorch too, as behind an embedding. ``renamed``: the NNX
    model calls its parts otherwise.
    """

    random: np.random.Generator
    shape: tuple[int, ...]
    train: bool
    renamed: bool
    parts: dict[str, Part] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    rules: dict[str, Rule] = field(default_factory=dict)
    image: tuple[int, int, int] | None = None
    features_last: bool = False

    def choose(self, options: Sequence[Choice]) -> Choice:
        return options[int(self.random.integers(len(options)))]

    def between(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def maybe(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def add(self, kind: str, theirs: Callable[[], Any], ours: Callable[[nnx.Rngs], Any]) -> str:
        name = f"{kind}{len(self.parts)}"
        self.parts[name] = Part(theirs, ours)
        self.order.append(name)
        return name

    def original(self) -> nn.Module:
        return Original({name: part.theirs() for name, part in self.parts.items()}, self.order)

    def port(self) -> nnx.Module:
        rngs = nnx.Rngs(0)
        ours = {name: f"part_{number}" if self.renamed else name for number, name in enumerate(self.parts)}
        made = {ours[name]: part.ours(rngs) for name, part in self.parts.items()}
        return Port(made, [ours[name] for name in self.order])


class Original(nn.Module):
    def __init__(self, parts: dict[str, Any], order: Sequence[str]) -> None:
        super().__init__()
        self.order = order
        self.functions = {name: part for name, part in parts.items() if not isinstance(part, nn.Module)}
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            function = self.functions.get(name)
            x = self.get_submodule(name)(x) if function is None else function(x, self.training)
        return x


class Port(nnx.Module):
    def __init__(self, parts: dict[str, Any], order: Sequence[str]) -> None:
        for name, part in parts.items():
            setattr(self, name, part)
        self.order = tuple(order)

    def __call__(self, x: Array) -> Array:
        for name in self.order:
            x = getattr(self, name)(x)
        return x
