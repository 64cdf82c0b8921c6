"""Pooling with another border, another way to count it, or of another kind."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxnn.parity.diagnosis.alternative import Alternative
from jaxnn.parity.diagnosis.hypothesis import Claim
from jaxnn.parity.diagnosis.reference.convolution import as_tuple, reach
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError
from jaxnn.parity.diagnosis.reference.pooling import Pool, pool, pool_of, sizes_out


def alternatives(
    name: str,
    options: Mapping[str, Any],
    sizes: Sequence[int],
    *,
    out: Sequence[int] | None = None,
    thorough: bool = True,
) -> Iterator[Alternative]:
    """In place of the pool ``name`` on images of spatial ``sizes``; ``out``: only those that give this size.

    ``thorough``: with the padding placed in every way, rather than in those ways that a port has by default.

    Raises NotSimulatedError where the recording does not say how PyTorch pools.
    """
    try:
        own = pool_of(name, options, sizes)
    except (KeyError, ValueError) as error:
        raise NotSimulatedError(name) from error
    seen = [own]
    geometries = itertools.chain(_geometries(own, options, sizes), _placements(own, sizes) if thorough else ())
    for geometry, said in geometries:
        for other, how in _kinds(geometry, own, options):
            if other in seen or min(other.out) < 1 or (out is not None and other.out != tuple(out)):
                continue
            seen.append(other)
            says = f"{name} {' and '.join(part for part in (said, how) if part)}"
            claim = Claim(cause="pool-padding", says=says, fix=_fix(own, options))
            yield Alternative(claim=claim, compute=lambda x, p=other: pool(x, p))


def _geometries(own: Pool, options: Mapping[str, Any], sizes: Sequence[int]) -> Iterator[tuple[Pool, str]]:
    yield own, ""
    same = tuple(math.ceil(n / s) for n, s in zip(sizes, own.stride, strict=True))
    total = [max(t, 0) for t in reach(sizes, same, _span(own), own.stride)]
    yield _placed(own, tuple(t // 2 for t in total), same), "padded as 'SAME'"
    none, padding = (0,) * len(sizes), as_tuple(options.get("padding", 0), len(sizes))
    valid = sizes_out(sizes, own.kernel, own.stride, none, own.dilation, ceil_mode=False)
    yield _placed(own, none, valid), "without padding ('VALID')"
    for ceil_mode in (True, False):
        size = sizes_out(sizes, own.kernel, own.stride, padding, own.dilation, ceil_mode=ceil_mode)
        yield _placed(own, padding, size), f"with ceil_mode={ceil_mode}"
    for stride in (own.kernel, (1,) * len(sizes)):
        size = sizes_out(sizes, own.kernel, stride, padding, own.dilation, ceil_mode=False)
        yield dataclasses.replace(own, stride=stride, out=size), f"with stride {stride}"


def _placements(own: Pool, sizes: Sequence[int]) -> Iterator[tuple[Pool, str]]:
    span = _span(own)
    room = [max(t + s - 1, 0) for t, s in zip(reach(sizes, own.out, span, own.stride), own.stride, strict=True)]
    for before in itertools.product(*(range(min(r, k) + 1) for r, k in zip(room, span, strict=True))):
        yield _placed(own, before, own.out), f"with {before} of the padding before the image"


def _span(own: Pool) -> list[int]:
    return [d * (k - 1) + 1 for k, d in zip(own.kernel, own.dilation, strict=True)]


def _placed(own: Pool, before: tuple[int, ...], out: tuple[int, ...]) -> Pool:
    return dataclasses.replace(own, before=before, out=out)


def _kinds(geometry: Pool, own: Pool, options: Mapping[str, Any]) -> Iterator[tuple[Pool, str]]:
    """The same windows with other fillings, counted differently, or of the other kind."""
    padding = as_tuple(options.get("padding", 0), len(own.kernel))
    maximum = dataclasses.replace(geometry, average=False, counted=0, divisor=None)
    average = dataclasses.replace(geometry, average=True, fill=-math.inf)
    maxima = [(maximum, ""), (dataclasses.replace(maximum, fill=0.0), "bordered by 0 in place of -inf")]
    means = [
        (dataclasses.replace(average, counted=own.counted, divisor=own.divisor), ""),
        (dataclasses.replace(average, counted=0, divisor=None), "counting the image alone (count_include_pad=False)"),
        (dataclasses.replace(average, counted=padding, divisor=None), "counting the padding (count_include_pad=True)"),
        (dataclasses.replace(average, counted=None, divisor=None), "divided by the whole window"),
    ]
    alike, others, kind = (means, maxima, "maximum") if own.average else (maxima, means, "average")
    yield from alike
    for other, how in others:
        yield other, f"as the {kind} in its place" + (f", {how}" if how else "")


def _fix(own: Pool, options: Mapping[str, Any]) -> str:
    pads = tuple((b, b) for b in own.before)
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    asked = ", ".join(f"{key}={options[key]}" for key in names if options.get(key) not in (None, False, 0))
    what = f"PyTorch pools with {asked}: nnx.{'avg' if own.average else 'max'}_pool with strides={own.stride}"
    if own.average and any(own.before):
        return f"{what}, padding={pads}, count_include_pad={own.counted != 0}"
    border = f"{what}, padding={pads}"
    return border + (", and where ceil_mode reaches further, more at the end" if options.get("ceil_mode") else "")
