"""What a layer makes of the reference's input: the catalogue for its kind, then what any layer may have."""

from collections.abc import Iterator

import numpy as np

from jaxnn.parity.diagnosis import activation, affine, batchnorm, dropout, pools, precision
from jaxnn.parity.diagnosis.alternative import Alternative
from jaxnn.parity.diagnosis.evidence import Evidence, array
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Finding, Hypothesis, likeliest
from jaxnn.parity.diagnosis.measure import Choice, few_examples
from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.diagnosis.reference.activations import MODULES
from jaxnn.parity.recording import Layer


def of_layer(evidence: Evidence, layer: Layer) -> Finding | None:
    """Why the layer's output differs where its input does not."""
    whole = array(evidence.left.arrays, f"forward/{layer.name}/input")
    reference, observed = evidence.reference(layer.name, "output"), evidence.observed(layer.name, "output")
    if whole is None or reference is None or observed is None:
        return None
    keep = few_examples(observed, reference, whole)
    for catalogue, near, seen in _catalogues(evidence, layer, whole, keep(reference), keep(observed), keep):
        found = likeliest(layer.name, catalogue, near, seen)
        if found is not None:
            return found
    return precision.narrow(layer.name, reference, observed, precision=evidence.left.precision)


def _catalogues(
    evidence: Evidence, layer: Layer, whole: np.ndarray, reference: np.ndarray, observed: np.ndarray, keep: Choice
) -> Iterator[tuple[Catalogue, np.ndarray, np.ndarray]]:
    """Each with the part of the reference's and of JAX's output that it predicts; the next where one finds nothing."""
    weights, x = evidence.weights(layer), keep(whole)
    combined: tuple[Catalogue, np.ndarray, np.ndarray] | None = None
    if layer.kind in affine.KINDS and "weight" in weights:
        arrived = array(evidence.right.arrays, f"weight/{layer.module}.weight")
        a = affine.affine(layer, weights, arrived, x, reference, observed)
        if a is not None:
            yield affine.hypotheses(a, run=evidence.left.precision), a.reference, a.observed
            combined = affine.pairs(a), a.reference, a.observed
    elif layer.kind.startswith("BatchNorm"):
        n = batchnorm.Normalization(layer=layer, weights=weights, whole=whole, x=x, train=evidence.left.train)
        yield batchnorm.outputs(n, observed), reference, observed
        combined = batchnorm.output_pairs(n, observed), reference, observed
    else:
        yield _of_function(evidence, layer, x, reference, observed, keep), reference, observed
    yield _of_any(layer, weights, reference, observed), reference, observed
    if combined is not None:
        yield combined


def _of_function(
    evidence: Evidence, layer: Layer, x: np.ndarray, reference: np.ndarray, observed: np.ndarray, keep: Choice
) -> Catalogue:
    op = functions.as_op(layer)
    if op is None:
        return
    mask = evidence.mask(op)
    for other in _alternatives(layer, op.name, x, observed, mask if mask is None else keep(mask)):
        yield Hypothesis(claims=(other.claim,), predict=lambda f=other.compute: f(x))
    if functions.is_dropout(op):
        tests = dropout.scaled if evidence.left.train else dropout.in_evaluation
        yield from tests(layer.options.get("p", 0.5), reference, observed)


def _alternatives(
    layer: Layer, name: str, x: np.ndarray, observed: np.ndarray, mask: np.ndarray | None
) -> Iterator[Alternative]:
    if layer.kind in MODULES:
        yield from activation.alternatives(name, layer.options)
    elif name.startswith(("max_pool", "avg_pool")):
        yield from pools.alternatives(name, layer.options, x.shape[2:], out=observed.shape[2:])
    elif name == "dropout":
        yield from dropout.alternatives(layer.options.get("p", 0.5), mask)


def _of_any(layer: Layer, weights: dict[str, np.ndarray], reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    if layer.kind not in MODULES:
        yield from activation.after_layer(reference)
    if layer.kind not in affine.KINDS and "weight" in weights:
        yield from affine.biases(layer, affine.bias_of(layer, weights, reference), reference, observed)
