"""Max and average pooling over any number of spatial axes, with every border that a port may choose."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnn.parity.diagnosis.reference.convolution import as_tuple, pad, reach, strided


@dataclass(frozen=True, kw_only=True)
class Pool:
    """``before``, ``out``: padding at the lower end and size of the result, along each axis. ``fill`` is what the
    maximum meets outside of the image. ``counted``: how many pixels around the image the average counts, before
    and after; None divides by the whole window."""

    average: bool
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]
    fill: float = -math.inf
    counted: int | tuple[int, ...] | None = 0
    divisor: int | None = None


def pool_of(name: str, options: Mapping[str, Any], sizes: Sequence[int]) -> Pool:
    """The pooling that PyTorch's options ask for on an image of spatial ``sizes``."""
    ndim = len(sizes)
    kernel = as_tuple(options["kernel_size"], ndim)
    given = options.get("stride")
    stride = kernel if given is None or given == [] else as_tuple(given, ndim)
    padding = as_tuple(options.get("padding", 0), ndim)
    dilation = as_tuple(options.get("dilation", 1), ndim)
    average = name.startswith("avg")
    return Pool(
        average=average,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        before=padding,
        out=sizes_out(sizes, kernel, stride, padding, dilation, ceil_mode=bool(options.get("ceil_mode", False))),
        counted=padding if average and options.get("count_include_pad", True) else 0,
        divisor=options.get("divisor_override"),
    )


def sizes_out(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    *,
    ceil_mode: bool,
) -> tuple[int, ...]:
    found = []
    for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = (math.ceil(room / s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:  # a window may not start in the padding after the image
            count -= 1
        found.append(count)
    return tuple(found)


def pool(x: np.ndarray, p: Pool) -> np.ndarray:
    windows = gathered(x, p, fill=0.0 if p.average else p.fill)
    if not p.average:
        return windows.max(axis=0)
    if p.divisor is not None:
        return windows.sum(axis=0) / p.divisor
    if p.counted is None:
        return windows.mean(axis=0)
    counted = as_tuple(p.counted, len(p.kernel))
    ones = np.ones((1, 1, *(n + 2 * c for n, c in zip(x.shape[2:], counted, strict=True))))
    shifted = tuple(b - c for b, c in zip(p.before, counted, strict=True))
    count = gathered(ones, Pool(**{**vars(p), "before": shifted}), fill=0.0).sum(axis=0)
    return windows.sum(axis=0) / np.maximum(count, 1)


def gathered(x: np.ndarray, p: Pool, *, fill: float) -> np.ndarray:
    """The windows of (N, C, ...), position within the window first, row by row: (position, N, C, *out)."""
    span = [d * (k - 1) + 1 for k, d in zip(p.kernel, p.dilation, strict=True)]
    after = [t - b for t, b in zip(reach(x.shape[2:], p.out, span, p.stride), p.before, strict=True)]
    padded = pad(x, p.before, after, fill=fill)
    offsets = itertools.product(*(range(k) for k in p.kernel))
    return np.stack([padded[(..., *strided(offset, p.dilation, p.stride, p.out))] for offset in offsets])


def scattered(shares: np.ndarray, p: Pool, shape: Sequence[int]) -> np.ndarray:
    """The transpose of ``gathered``: what stands in the windows summed into an image of ``shape``."""
    span = [d * (k - 1) + 1 for k, d in zip(p.kernel, p.dilation, strict=True)]
    extent = [(o - 1) * s + k for o, k, s in zip(p.out, span, p.stride, strict=True)]
    padded = np.zeros((*shape[:2], *extent))
    for share, offset in zip(shares, itertools.product(*(range(k) for k in p.kernel)), strict=True):
        padded[(..., *strided(offset, p.dilation, p.stride, p.out))] += share
    after = [e - b - n for e, b, n in zip(extent, p.before, shape[2:], strict=True)]
    return pad(padded, [-b for b in p.before], [-a for a in after])


def adaptive_average(x: np.ndarray, output_size: Any) -> np.ndarray:
    """torch.nn.functional.adaptive_avg_pool: the mean over output_size nearly equal parts of each axis."""
    axes = range(2, x.ndim)
    sizes = output_size if isinstance(output_size, Sequence) else [output_size] * len(axes)
    for axis, size in zip(axes, sizes, strict=True):
        n = x.shape[axis]
        count = n if size is None else int(size)
        parts = [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        x = np.stack([x[(slice(None),) * axis + (part,)].mean(axis=axis) for part in parts], axis=axis)
    return x
