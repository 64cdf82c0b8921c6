"""What lies between two layers that both sides have: the functions called there, what goes in, what comes out."""

from dataclasses import dataclass, replace

import numpy as np

from jaxnn.parity.diagnosis.evidence import Evidence, array
from jaxnn.parity.diagnosis.measure import few_examples
from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.recording import Op


@dataclass(frozen=True, kw_only=True)
class Span:
    """The code between two layers that both sides have, or before the first, or after the last.

    ``start`` is what it was given, ``ops`` what the reference calls, with the ``masks`` of those that drop values;
    ``reference`` and ``observed`` are the results.
    """

    start: np.ndarray
    ops: tuple[Op, ...]
    masks: tuple[np.ndarray | None, ...]
    reference: np.ndarray
    observed: np.ndarray


def span_before(evidence: Evidence, index: int | None) -> Span | None:
    """What lies before the layer of this index, or with None after the last; layers that JAX has not are part of it."""
    layers = evidence.left.layers
    if index is None:
        ops, last = list(evidence.left.after), len(layers) - 1
        reference = array(evidence.left.arrays, "outputs")
        observed = array(evidence.right.arrays, "alone/outputs" if evidence.fed else "outputs")
    else:
        ops, last = list(layers[index].before), index - 1
        reference = evidence.reference(layers[index].name, "input")
        observed = evidence.observed(layers[index].name, "input")
    start = array(evidence.left.arrays, "inputs")
    for layer in reversed(layers[: last + 1]):
        op = functions.as_op(layer)
        if evidence.in_both(layer) or op is None:
            start = evidence.reference(layer.name, "output")
            break
        ops = [*layer.before, op, *ops]
    if start is None or reference is None or observed is None:
        return None
    masks = tuple(evidence.mask(op) for op in ops)
    return Span(start=start, ops=tuple(ops), masks=masks, reference=reference, observed=observed)


def reduced(span: Span, *, elements: int) -> Span:
    """The span on a few examples; those of its functions that name the whole batch still do."""
    keep = few_examples(span.observed, span.reference, span.start, elements=elements)
    return replace(
        span,
        start=keep(span.start),
        masks=tuple(None if mask is None else keep(mask) for mask in span.masks),
        reference=keep(span.reference),
        observed=keep(span.observed),
    )
