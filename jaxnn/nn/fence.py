"""Functions that XLA does not fuse with what surrounds them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def fenced(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function one that XLA calls and does not inline: on CPU it drops optimization barriers before fusion.

    ``static``: names of arguments that are no arrays.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inside(*arguments: Any) -> Any:
            with set_xla_metadata(inlineable=None):  # what it calls itself may be inlined into it
                return function(*arguments)

        compiled = jax.jit(inside, static_argnames=static)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            with set_xla_metadata(inlineable="false"):
                return compiled(*arguments)

        return call

    return decorate
