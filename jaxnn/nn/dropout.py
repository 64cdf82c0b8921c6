"""Dropout whose masks can come from outside, so that two frameworks can drop the same units."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

_recorder: contextvars.ContextVar[Callable[["Dropout", tuple[int, ...]], None] | None] = contextvars.ContextVar(
    "recorder", default=None
)


class DropoutMask(nnx.Variable):
    """What the next call keeps: booleans of the input's shape."""


class Dropout(nnx.Module):
    """torch.nn.Dropout: zeroes inputs with probability ``rate`` and scales the rest by 1 / (1 - rate).

    With ``rngs`` it draws its masks from their "dropout" stream. Without, the caller sets ``mask``
    before each call in training; a training step that forgets is an error, not a network without dropout.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs | None = None) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"the dropout rate must be in [0, 1), got {rate}")
        self.rate = rate
        self.deterministic = False
        self.rngs = None if rngs is None else rngs.dropout.fork()
        self.mask = DropoutMask(jnp.zeros((0,), bool))

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        if self.deterministic or self.rate == 0:
            return x
        if record := _recorder.get():
            record(self, x.shape)
            return x
        keep = jax.random.bernoulli(self.rngs(), 1 - self.rate, x.shape) if self.rngs is not None else self.mask[...]
        if keep.shape != x.shape:
            raise ValueError(f"Dropout needs a mask of shape {x.shape}, got {keep.shape}: set .mask or give rngs")
        return x * (keep.astype(x.dtype) / (1 - self.rate))


@contextlib.contextmanager
def recording(record: Callable[[Dropout, tuple[int, ...]], None]) -> Iterator[None]:
    """Inside, each dropout that would drop calls ``record(module, input_shape)`` and passes its input on."""
    token = _recorder.set(record)
    try:
        yield
    finally:
        _recorder.reset(token)
