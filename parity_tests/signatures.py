"""How two functions that should be called alike differ in their parameters."""

import inspect
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def parameters(function: Function) -> dict[str, inspect.Parameter]:
    """The parameters of a function, or of a class's constructor."""
    if not inspect.isclass(function):
        return dict(inspect.signature(function).parameters)
    found = dict(inspect.signature(function.__init__).parameters)
    return {name: parameter for name, parameter in found.items() if name != "self"}


def presence(ours: Function, theirs: Function) -> dict[str, str]:
    """The parameters that one side alone has."""
    mine, other = parameters(ours), parameters(theirs)
    return dict.fromkeys(mine.keys() - other.keys(), "ours alone") | dict.fromkeys(
        other.keys() - mine.keys(), "theirs alone"
    )


def defaults(ours: Function, theirs: Function) -> dict[str, str]:
    """The shared parameters whose defaults are not equal."""
    mine, other = parameters(ours), parameters(theirs)
    shared = [name for name in mine if name in other]
    return {
        name: f"default {mine[name].default!r}, theirs {other[name].default!r}"
        for name in shared
        if mine[name].default != other[name].default
    }


def forms(ours: Function, theirs: Function) -> dict[str, str]:
    """The shared parameters that stand elsewhere, are of another kind, or are annotated otherwise."""
    mine, other = parameters(ours), parameters(theirs)
    order, their_order = [n for n in mine if n in other], [n for n in other if n in mine]
    found = {name: f"where theirs has {there}" for name, there in zip(order, their_order, strict=True) if name != there}
    for name in order:
        for what in ("kind", "annotation"):
            a, b = getattr(mine[name], what), getattr(other[name], what)
            if a != b:
                found[name] = f"{what} {a}, theirs {b}"
    return found


def drift(ours: Function, theirs: Function) -> dict[str, str]:
    """Parameter -> how the two differ in it, in any respect."""
    return forms(ours, theirs) | defaults(ours, theirs) | presence(ours, theirs)
