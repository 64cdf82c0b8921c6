"""Numbers held in, or products computed in, a narrower format than the run's."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Finding, hypothesis
from jaxnn.parity.diagnosis.measure import FORMATS, Format, distance, holds, spread

_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
_LEAST, _MOST = 1e-3, 16
"""Roundings of the narrower format that part the two: numbers much nearer hold those bits by themselves."""

_BITS_USED = 4
"""Numbers of a format need its last bits: if not one of these, they are round numbers, such as 0 and 1."""


def narrow(place: str, reference: np.ndarray, observed: np.ndarray, *, precision: str) -> Finding | None:
    """JAX's numbers are all of a format narrower than the run's, PyTorch's are not, and roundings part them."""
    if reference.shape != observed.shape or not observed.size:
        return None
    apart = distance(reference, observed)
    for name in ("bfloat16", "float16", "float32"):
        held = FORMATS[name]
        if held.bits >= _BITS[precision] or not _LEAST * held.eps < apart <= _MOST * held.eps:
            continue
        narrower = dataclasses.replace(held, bits=held.bits - _BITS_USED)
        theirs, ours = spread(reference), spread(observed)
        if holds(held, ours) and not holds(held, theirs) and not holds(narrower, ours):
            says = (
                f"{place}: all {observed.size} numbers are {name}, in a run in {precision}, and are {apart:.0e} of "
                f"the largest magnitude away from PyTorch's, as roundings to {name} are"
            )
            claim = Claim(cause="dtype", says=says, fix=_fix(name, precision))
            return Finding(claims=(claim,), evidence=says)
    return None


def _fix(name: str, precision: str) -> str:
    fix = f"keep {precision} throughout: no dtype= or astype of {name}"
    if precision == "float64":
        fix += ", param_dtype=jnp.float64 for every layer (flax's default is float32), and jax_enable_x64 on"
    return fix


def products(
    multiply: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, weight: np.ndarray, *, precision: str
) -> Catalogue:
    """``multiply(x, weight)``, a layer's result, with operands rounded as matrix units round them."""
    for name, held in FORMATS.items():
        if name == "float32" or held.bits >= _BITS[precision]:
            continue
        for how, rounded in _roundings(held):
            for which, operands in (
                ("both operands", (rounded, rounded)),
                ("the inputs", (rounded, _exact)),
                ("the weights", (_exact, rounded)),
            ):
                yield hypothesis(
                    "matmul-precision",
                    f"{which} of the product rounded to {name} ({held.bits} significant bits{how})",
                    "ask for full products: jax.default_matmul_precision('highest'), or precision='highest' of the "
                    "layer, and no lower dtype for its operands",
                    lambda operands=operands: multiply(operands[0](x), operands[1](weight)),
                )


def _roundings(held: Format) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    yield "", held.rounded
    # XLA may pass through float32, which rounds a few numbers twice.
    yield ", by way of float32", lambda x: held.rounded(FORMATS["float32"].rounded(x))
    if held.name == "tfloat32":
        yield ", the rest cut off", lambda x: held.rounded(x, truncated=True)


def _exact(x: np.ndarray) -> np.ndarray:
    return x
