"""What may be wrong at a place where a comparison failed, by the family of the place."""

from collections.abc import Callable, Mapping

import numpy as np

from jaxnn.parity.diagnosis import backward, between, initialisation, losses, optimizers, precision, weight_layout
from jaxnn.parity.diagnosis.evidence import Evidence, array, of_module
from jaxnn.parity.diagnosis.hypothesis import Claim, Finding, likeliest
from jaxnn.parity.diagnosis.layers import of_layer
from jaxnn.parity.diagnosis.running_statistics import of_running_statistics
from jaxnn.parity.diagnosis.span import reduced, span_before

Diagnosing = Callable[[Evidence, str], Finding | None]


def _weights(evidence: Evidence, name: str) -> Finding | None:
    """A parameter as it was carried over."""
    theirs, ours = (array(side.arrays, f"weight/{name}") for side in (evidence.left, evidence.right))
    if (theirs is None) != (ours is None) and evidence.right.under("weight") and name.endswith("bias"):
        lacking = "JAX" if ours is None else "PyTorch"
        says = f"{name}: the layer has a bias in one framework and none in {lacking}"
        fix = f"build the layer with use_bias={theirs is not None}, as PyTorch's has it"
        return Finding(claims=(Claim(cause="missing-bias", says=says, fix=fix),), evidence=says)
    if theirs is None or ours is None:
        return None
    return likeliest(name, weight_layout.stored(theirs), theirs, ours) or precision.narrow(
        name, theirs, ours, precision=evidence.left.precision
    )


def _init(evidence: Evidence, name: str) -> Finding | None:
    theirs, ours = array(evidence.left.arrays, f"weight/{name}"), array(evidence.right.arrays, f"initial/{name}")
    if theirs is None or ours is None or not ours.size:
        return None
    return initialisation.initialisation(name, theirs, ours, _fans(evidence, name))


def _fans(evidence: Evidence, name: str) -> tuple[int, int] | None:
    module = name.rpartition(".")[0]
    kinds = [layer.kind for layer in evidence.left.layers if layer.module == module]
    weight = evidence.left.arrays.get(f"weight/{module}.weight")
    if weight is None or weight.ndim < 2 or "Embedding" in kinds:
        return None
    window = int(np.prod(weight.shape[2:]))
    return weight.shape[1] * window, weight.shape[0] * window


def _layer(evidence: Evidence, name: str) -> Finding | None:
    return next((of_layer(evidence, layer) for layer in evidence.left.layers if layer.name == name), None)


def _between(evidence: Evidence, name: str) -> Finding | None:
    span = span_before(evidence, evidence.index(name))
    if span is None:
        return None
    place = "after the last layer" if evidence.index(name) is None else f"before {name}"
    few, fewer = reduced(span, elements=20_000), reduced(span, elements=3_000)
    return (
        likeliest(place, between.hypotheses(evidence, few), few.reference, few.observed)
        or likeliest(place, between.pairs(evidence, fewer), fewer.reference, fewer.observed)
        or precision.narrow(place, span.reference, span.observed, precision=evidence.left.precision)
    )


def _narrow_buffers(evidence: Evidence, module: str) -> Finding | None:
    for name, reference in of_module(evidence.left.arrays, "buffer", module).items():
        observed = array(evidence.right.arrays, f"buffer/{module}.{name}")
        if observed is not None and np.issubdtype(reference.dtype, np.floating):
            found = precision.narrow(f"{module}.{name}", reference, observed, precision=evidence.left.precision)
            if found is not None:
                return found
    return None


FAMILIES: Mapping[str, Diagnosing] = {
    "weights": _weights,
    "layer": _layer,
    "between": _between,
    "buffers": of_running_statistics,
    "loss": lambda evidence, _: losses.of_loss(evidence),
    "gradients": lambda evidence, _: backward.of_gradients(evidence) or losses.of_loss(evidence),
    "optimizer": lambda evidence, _: optimizers.of_optimizer(evidence),
}

REMAINDERS: Mapping[str, Diagnosing] = {"init": _init, "buffers": _narrow_buffers}
"""What is said after all else: other initial values, which no later number depends on, as PyTorch's are carried over;
and narrower buffers, beside whatever else they have."""
