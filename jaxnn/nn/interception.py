"""Standing between an NNX model and its layers: every call seen or replaced.

Works on any class of module, since ``__call__`` of the classes themselves is replaced while it lasts.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from flax import nnx

from jaxnn.nn.dropout import DropoutMask

Call = Callable[..., Any]
"""(path, number of the call, the layer's own __call__, its first argument) -> what the layer is to return."""

_MARK = "jaxnn_path"

NO_BUFFER = nnx.Any(nnx.RngState, DropoutMask)
"""Variables that are neither parameters nor buffers."""


def layers_of(model: nnx.Module) -> dict[Any, nnx.Module]:
    """The modules that count as layers: those with variables of their own, and those without modules inside."""
    containers = (nnx.List, nnx.Dict, nnx.Sequential)
    found = {path: module for path, module in nnx.iter_modules(model) if path and not isinstance(module, containers)}
    owners = {path[:-1] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Not(NO_BUFFER)))}
    outer = {path[:depth] for path in found for depth in range(len(path))}
    return {path: module for path, module in found.items() if path in owners or path not in outer}


def mark(model: nnx.Module) -> None:
    """Writes its path on each layer, by which copies are known too: nnx.jit and its like call copies of a module."""
    for path, module in layers_of(model).items():
        setattr(module, _MARK, path)


@contextlib.contextmanager
def intercepted(model: nnx.Module, call: Call) -> Iterator[None]:
    """Inside, calls of the marked layers go through ``call``; those of other models are left alone."""
    numbers: dict[Any, int] = {}
    inside: set[int] = set()

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def called(self: nnx.Module, *arguments: Any, **options: Any) -> Any:
            path = getattr(self, _MARK, None)
            if path is None or id(self) in inside or not arguments:
                return original(self, *arguments, **options)
            numbers[path] = numbers.get(path, 0) + 1
            inside.add(id(self))
            try:
                first, *others = arguments
                return call(path, numbers[path], lambda x: original(self, x, *others, **options), first)
            finally:
                inside.discard(id(self))

        return called

    with contextlib.ExitStack() as patches:
        for kind in {type(module) for module in layers_of(model).values()}:
            patches.enter_context(patched(kind, "__call__", wrap(kind.__call__)))
        yield


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Inside, ``owner`` has ``value`` as its attribute ``name``."""
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)  # it had been inherited
        else:
            setattr(owner, name, before)
