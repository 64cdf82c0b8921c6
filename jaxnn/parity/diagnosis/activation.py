"""Activations that a port may have in place of PyTorch's, or beside it."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxnn.parity.diagnosis.alternative import Alternative
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, hypothesis
from jaxnn.parity.diagnosis.measure import distance
from jaxnn.parity.diagnosis.reference.activations import ACTIVATIONS, options_of

_OPTIONS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "leaky_relu": tuple({"negative_slope": slope} for slope in (0.01, 0.2, 0.3, 0.1, 0.05, 0.02)),
    "gelu": ({"approximate": "none"}, {"approximate": "tanh"}),
    "elu": ({"alpha": 1.0}, {"alpha": 0.1}, {"alpha": 0.5}),
}
_JAX = {
    "gelu": "jax.nn.gelu(x, approximate=False): its default is the tanh form, PyTorch's the exact one",
    "tanh": "jnp.tanh(x)",
    "logsigmoid": "jax.nn.log_sigmoid(x)",
    "softsign": "jax.nn.soft_sign(x)",
    "hardtanh": "jax.nn.hard_tanh(x)",
    "hardsigmoid": "jax.nn.hard_sigmoid(x)",
    "hardswish": "jax.nn.hard_swish(x)",
}


def alternatives(name: str, options: Mapping[str, Any]) -> Iterator[Alternative]:
    """In place of the activation ``name`` of torch.nn.functional; "identity" is none."""
    own = options_of(name, options)
    for other, given in _every():
        if other == name and {**_defaults(name), **own} == {**_defaults(other), **given}:
            continue
        says = f"{_said(other, given)} in place of PyTorch's {_said(name, own)}"
        if other == "identity":
            says = f"no activation where PyTorch has {_said(name, own)}"
        elif name == "identity":
            says = f"an activation, {_said(other, given)}, where PyTorch has none"
        yield _alternative(says, _fix(name, own), ACTIVATIONS[other], given)


def extra(place: str) -> Iterator[Alternative]:
    """An activation where PyTorch has none; ``place`` says where that is."""
    for other, given in _every():
        if other != "identity":
            says = f"an activation, {_said(other, given)}, {place}, where PyTorch has none"
            yield _alternative(says, f"take the {other} out", ACTIVATIONS[other], given)


def after_layer(reference: np.ndarray) -> Catalogue:
    """The result of a layer with an activation that PyTorch's layer does not apply."""
    for other in extra("after the layer"):
        yield hypothesis("activation", other.claim.says, other.claim.fix, lambda f=other.compute: f(reference))


def of_unknown(name: str, options: Mapping[str, Any], reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    """In place of an activation whose input was not recorded; ``reference`` is its result."""
    if observed.shape != reference.shape:
        return
    own = options_of(name, options)
    if distance(ACTIVATIONS[name](observed, **own), reference) < 1e-6:
        says = f"PyTorch's {_said(name, own)} turns JAX's numbers into PyTorch's: JAX has none, or one that it undoes"
        yield hypothesis("activation", says, _fix(name, own), lambda: observed)
    if name == "relu":
        positive = reference > 0  # there relu's input is its result
        for other in alternatives(name, options):
            if distance(other.compute(reference)[positive], reference[positive]) > 1e-6:
                says = f"{other.claim.says}, as far as positive values of PyTorch show what it was given"
                yield hypothesis(
                    "activation",
                    says,
                    other.claim.fix,
                    lambda f=other.compute: np.where(positive, f(reference), observed),
                )


def _every() -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = ["identity", *(name for name in ACTIVATIONS if name != "identity")]
    return itertools.chain.from_iterable(((name, given) for given in _OPTIONS.get(name, ({},))) for name in names)


def _alternative(says: str, fix: str, activation: Callable[..., np.ndarray], options: Mapping[str, Any]) -> Alternative:
    claim = Claim(cause="activation", says=says, fix=fix)
    return Alternative(claim=claim, compute=lambda x: activation(x, **options))


def _defaults(name: str) -> Mapping[str, Any]:
    return getattr(ACTIVATIONS[name], "__kwdefaults__", None) or {}


def _said(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value}' for key, value in options.items() if value is not None)})"


def _fix(name: str, options: Mapping[str, Any]) -> str:
    if name == "gelu" and options.get("approximate") == "tanh":
        return "use jax.nn.gelu(x, approximate=True), as PyTorch's approximate='tanh'"
    if name == "identity":
        return "take the activation out"
    arguments = "".join(f", {key}={value}" for key, value in options.items() if value is not None)
    return f"use {_JAX.get(name, f'jax.nn.{name}(x{arguments})')}"
