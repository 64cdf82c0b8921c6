"""The code between two layers: activations, pools, flattening and dropout, varied one or two at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis import activation, dropout, flattening, pools
from jaxnn.parity.diagnosis.alternative import Alternative
from jaxnn.parity.diagnosis.evidence import Evidence
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Hypothesis, hypothesis
from jaxnn.parity.diagnosis.measure import distance
from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.diagnosis.reference.activations import ACTIVATIONS
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError, is_dropout, is_flatten, is_pool
from jaxnn.parity.diagnosis.span import Span
from jaxnn.parity.recording import Op

_FLATTEN_FIX = (
    "flatten images as (channel, height, width): jnp.transpose(x, (0, 3, 1, 2)).reshape(len(x), -1), or permute the "
    "next kernel's rows once, at import"
)


@dataclass(frozen=True)
class _Chain:
    """A span on a few examples; ``values[i]`` is what ``ops[i]`` is given, the last one the result."""

    ops: tuple[Op, ...]
    masks: tuple[np.ndarray | None, ...]
    values: tuple[np.ndarray, ...]
    shape: tuple[int, ...]

    def finished(self, x: np.ndarray, position: int) -> np.ndarray:
        """``x``, in place of ``values[position]``, through the rest of the functions."""
        for op, mask in zip(self.ops[position:], self.masks[position:], strict=True):
            x = functions.apply(op, x, mask)
        return x.reshape(self.shape) if x.size == np.prod(self.shape) else x


def hypotheses(evidence: Evidence, span: Span) -> Catalogue:
    """One member of the chain replaced, left out or put in; where the chain is not known, what shows without it."""
    chain = _chain(evidence, span)
    if chain is None:
        yield from _without_chain(span)
        yield from _dropped(evidence, span)
        return
    for position, other in _variations(chain):
        yield Hypothesis(
            claims=(other.claim,),
            predict=lambda p=position, f=other.compute: chain.finished(f(chain.values[p]), p + 1),
        )
    for position in range(len(chain.values)):
        where = f"before {chain.ops[position].name}" if position < len(chain.ops) else "at the end"
        for other in activation.extra(where):
            yield Hypothesis(
                claims=(other.claim,),
                predict=lambda p=position, f=other.compute: chain.finished(f(chain.values[p]), p),
            )
    for op in span.ops:
        if is_dropout(op):
            rate, given = op.options.get("p", 0.5), (span.reference, span.observed)
            yield from dropout.scaled(rate, *given) if evidence.left.train else dropout.in_evaluation(rate, *given)
    yield from _regrouped(span)
    yield from _dropped(evidence, span)


def pairs(evidence: Evidence, span: Span) -> Catalogue:
    """Two members of the chain replaced."""
    chain = _chain(evidence, span)
    if chain is None:
        return
    for first, one in _variations(chain, thorough=False):
        for second in range(first + 1, len(chain.ops)):
            try:
                x = one.compute(chain.values[first])
                for op, mask in zip(chain.ops[first + 1 : second], chain.masks[first + 1 : second], strict=True):
                    x = functions.apply(op, x, mask)
                others = list(_alternatives(chain.ops[second], x, chain.masks[second], thorough=False))
            except NotSimulatedError:
                continue
            for other in others:
                yield Hypothesis(
                    claims=(one.claim, other.claim),
                    predict=lambda x=x, f=other.compute, p=second + 1: chain.finished(f(x), p),
                )


def _chain(evidence: Evidence, span: Span) -> _Chain | None:
    """None if the functions recorded do not give the reference's numbers: then something was not recorded."""
    try:
        values, masks = [span.start], []
        for op, mask in zip(span.ops, span.masks, strict=True):
            masks.append(None if mask is None else mask.reshape(values[-1].shape))
            values.append(functions.apply(op, values[-1], masks[-1]))
    except (NotSimulatedError, ValueError):  # the shapes do not fit: the function was given something else
        return None
    chain = _Chain(span.ops, tuple(masks), tuple(values), span.reference.shape)
    rounding = 1e-9 if evidence.left.precision == "float64" else 1e-4
    close = distance(chain.finished(span.start, 0), span.reference) <= rounding
    return chain if close else None


def _variations(chain: _Chain, *, thorough: bool = True) -> Iterator[tuple[int, Alternative]]:
    for position, (op, x, mask) in enumerate(zip(chain.ops, chain.values, chain.masks, strict=False)):
        for other in _alternatives(op, x, mask, thorough=thorough):
            yield position, other


def _alternatives(op: Op, x: np.ndarray, mask: np.ndarray | None, *, thorough: bool) -> Iterator[Alternative]:
    if op.name in ACTIVATIONS:
        yield from activation.alternatives(op.name, op.options)
    elif is_pool(op):
        yield from pools.alternatives(op.name, op.options, x.shape[2:], thorough=thorough)
    elif is_flatten(op) and x.ndim > 2:
        for says, order in flattening.orders(x.shape[1:]):
            claim = Claim(
                cause="flatten-order",
                says=f"images {x.shape[1:]} flattened in the order {says} in place of (channel, height, width)",
                fix=_FLATTEN_FIX,
            )
            yield Alternative(claim=claim, compute=lambda x, order=order: x.reshape(len(x), -1)[:, order])
    elif is_dropout(op):
        yield from dropout.alternatives(op.options.get("p", 0.5), mask)


def _without_chain(span: Span) -> Catalogue:
    yield from _regrouped(span)
    last = next((op for op in reversed(span.ops) if not is_flatten(op)), None)
    if last is not None and last.name in ACTIVATIONS:
        yield from activation.of_unknown(last.name, last.options, span.reference, span.observed)
    yield from activation.after_layer(span.reference)


def _dropped(evidence: Evidence, span: Span) -> Catalogue:
    """A call of dropout shows in PyTorch's recording in training alone."""
    if not evidence.left.train and not any(is_dropout(op) for op in span.ops):
        yield from dropout.unannounced(span.reference, span.observed)


def _regrouped(span: Span) -> Catalogue:
    """A flattened image in another order of channels and positions, whatever its shape was."""
    reference, observed = span.reference, span.observed
    if reference.ndim != 2 or observed.shape != reference.shape:
        return
    if not np.array_equal(np.sort(reference[0]), np.sort(observed[0])):
        return
    for says, order in flattening.regroupings(reference.shape[1]):
        yield hypothesis("flatten-order", f"{says}", _FLATTEN_FIX, lambda order=order: reference[:, order])
