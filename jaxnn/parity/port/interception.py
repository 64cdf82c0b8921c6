"""What ``pairing`` needs to know of an NNX model's layers; and every dropout given PyTorch's mask.

Works on any dropout that draws by jax.random.bernoulli.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxnn.interop.layout import Activations, channels_last, channels_last_features
from jaxnn.nn.dropout import Dropout, DropoutMask
from jaxnn.nn.interception import NO_BUFFER, layers_of, patched
from jaxnn.parity.port.families import Site, family


def sites_of(model: nnx.Module) -> list[Site]:
    """What ``pairing`` needs to know of the layers, and of the modules and lists that hold parameters besides."""
    leaves: dict[Any, dict[str, tuple[int, ...]]] = {path: {} for path in layers_of(model)}
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Not(NO_BUFFER))):
        leaves.setdefault(path[:-1], {})[str(path[-1])] = tuple(variable[...].shape)
    modules = dict(nnx.iter_modules(model))
    names = {path: [base.__name__ for base in type(modules.get(path)).__mro__] for path in leaves}
    return [Site(path, family(names[path]), shapes) for path, shapes in leaves.items()]


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

    with patched(jax.random, "bernoulli", bernoulli), patched(Dropout, "__call__", dropout):
        yield
