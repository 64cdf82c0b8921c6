"""Standing between an NNX model and its layers: every call seen or replaced, every dropout given PyTorch's mask.

Works on any class of module, since ``__call__`` of the classes themselves is replaced while it lasts, and on any
dropout that draws by jax.random.bernoulli.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxnn.interop.layout import Activations, channels_last, channels_last_features
from jaxnn.nn.dropout import Dropout, DropoutMask
from jaxnn.parity.port.calls import Path
from jaxnn.parity.port.families import Site, family

Call = Callable[..., Any]
"""(path, number of the call, the layer's own __call__, its first argument) -> what the layer is to return."""

_MARK = "parity_path"

NO_BUFFER = nnx.Any(nnx.RngState, DropoutMask)
"""Variables that are neither parameters nor buffers."""


def layers_of(model: nnx.Module) -> dict[Any, nnx.Module]:
    """The modules that count as layers: those with variables of their own, and those without modules inside."""
    containers = (nnx.List, nnx.Dict, nnx.Sequential)
    found = {path: module for path, module in nnx.iter_modules(model) if path and not isinstance(module, containers)}
    owners = {path[:-1] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Not(NO_BUFFER)))}
    outer = {path[:depth] for path in found for depth in range(len(path))}
    return {path: module for path, module in found.items() if path in owners or path not in outer}


def sites_of(model: nnx.Module) -> list[Site]:
    """What ``pairing`` needs to know of the layers, and of the modules and lists that hold parameters besides."""
    leaves: dict[Any, dict[str, tuple[int, ...]]] = {path: {} for path in layers_of(model)}
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Not(NO_BUFFER))):
        leaves.setdefault(path[:-1], {})[str(path[-1])] = tuple(variable[...].shape)
    modules = dict(nnx.iter_modules(model))
    names = {path: [base.__name__ for base in type(modules.get(path)).__mro__] for path in leaves}
    return [Site(path, family(names[path]), shapes) for path, shapes in leaves.items()]


def mark(model: nnx.Module) -> None:
    """Writes its path on each layer, by which copies are known too: nnx.jit and its like call copies of a module."""
    for path, module in layers_of(model).items():
        setattr(module, _MARK, path)


@contextlib.contextmanager
def intercepted(model: nnx.Module, call: Call) -> Iterator[None]:
    """Inside, calls of the marked layers go through ``call``; those of other models are left alone."""
    numbers: dict[Path, int] = {}
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
            patches.enter_context(_patched(kind, "__call__", wrap(kind.__call__)))
        yield


class Masks:
    """PyTorch's dropout masks, handed to whichever layer asks, in order; a layer may own one.

    ``notes`` says which dropout of the NNX model had to draw for itself.
    """

    def __init__(self, masks: Sequence[Any], activations: Activations) -> None:
        self._masks, self._activations = list(masks), activations
        self._left = list(range(len(masks)))
        self.owned: int | None = None
        self.notes: list[str] = []

    def take(self, shape: tuple[int, ...]) -> Any | None:
        """The mask for an input of ``shape``, of which sizes of 1 stand for all; None if there is none."""
        number = self.owned if self.owned in self._left else next(iter(self._left), None)
        if number is None:
            self.notes.append(f"the NNX model draws a mask of shape {shape} for which PyTorch has no dropout")
            return None
        mask = self._in_nnx(jnp.asarray(self._masks[number]), shape)
        if mask is None:
            drawn = self._masks[number].shape
            self.notes.append(f"the NNX model draws a mask of shape {shape}, where PyTorch drew {drawn}")
            return None
        self._left.remove(number)
        return mask[tuple(slice(0, size) for size in shape)]

    def _in_nnx(self, mask: Any, shape: tuple[int, ...]) -> Any | None:
        """The mask as NNX has what it drops: with the features of a flattened image in its order, with channels last,
        or as it is; None if that does not fit ``shape``."""
        for image in self._activations.flattened.values():
            if mask.ndim == 2 and mask.shape[1] == image[0] * image[1] * image[2]:
                mask = channels_last_features(mask, image, axis=1)
                break
        ways = [channels_last(mask)] if mask.ndim > 3 else [mask, channels_last(mask)] if mask.ndim == 3 else [mask]
        return next((way for way in ways if _is_part(shape, way.shape)), None)


def _is_part(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether ``shape`` is ``whole`` but for sizes of 1."""
    return len(shape) == len(whole) and all(size in (1, full) for size, full in zip(shape, whole, strict=True))


@contextlib.contextmanager
def sharing(masks: Masks) -> Iterator[None]:
    """Inside, jax.random.bernoulli and jaxnn's Dropout take their masks from ``masks``."""
    draw, drop = jax.random.bernoulli, Dropout.__call__

    def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        mask = masks.take(tuple(jnp.shape(p) if shape is None else shape))
        return draw(key, p, shape, *arguments, **options) if mask is None else mask

    def dropout(self: Dropout, x: Any) -> Any:
        if self.rngs is None and self.rate > 0 and not self.deterministic:
            mask = masks.take(x.shape)
            self.mask = DropoutMask(jnp.ones(x.shape, bool) if mask is None else mask)
        return drop(self, x)

    with _patched(jax.random, "bernoulli", bernoulli), _patched(Dropout, "__call__", dropout):
        yield


@contextlib.contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)  # it had been inherited
        else:
            setattr(owner, name, before)
