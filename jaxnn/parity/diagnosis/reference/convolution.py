"""Linear layers and convolutions over any number of spatial axes, with every padding that a port may choose."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""NumPy's names of PyTorch's padding modes."""


def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x @ weight.T


def as_tuple(value: Any, ndim: int) -> tuple[int, ...]:
    """An option that PyTorch takes as one number or as one per axis."""
    if isinstance(value, Sequence):
        return tuple(int(v) for v in value) if len(value) == ndim else (int(value[0]),) * ndim
    return (int(value),) * ndim


def pad(x: np.ndarray, before: Sequence[int], after: Sequence[int], *, mode: str = "zeros", fill: float = 0.0) -> Any:
    """Pads the last axes; negative numbers cut. Raises ValueError where the mode cannot pad so far."""
    first = x.ndim - len(before)
    sizes = zip(x.shape[first:], before, after, strict=True)
    x = x[(slice(None),) * first + tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, lo, hi in sizes)]
    widths = [(0, 0)] * first + [(max(lo, 0), max(hi, 0)) for lo, hi in zip(before, after, strict=True)]
    if mode == "reflect" and any(max(w) >= n for w, n in zip(widths[first:], x.shape[first:], strict=True)):
        raise ValueError("reflection reaches beyond the image")
    values: dict[str, Any] = {"constant_values": fill} if mode == "zeros" else {}
    return np.pad(x, widths, mode=MODES[mode], **values)  # pyright: ignore[reportCallIssue, reportArgumentType]


def reach(sizes: Sequence[int], out: Sequence[int], span: Sequence[int], stride: Sequence[int]) -> list[int]:
    """How far ``out`` windows reach beyond the image, both ends together; negative where they end before it."""
    return [(o - 1) * s + k - n for n, o, k, s in zip(sizes, out, span, stride, strict=True)]


def convolve(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    before: Sequence[int],
    out: Sequence[int],
    mode: str = "zeros",
) -> np.ndarray:
    """Cross-correlation of (N, I, ...) with (O, I/groups, ...), without the bias.

    ``before`` is the padding at the lower end of each axis; how much stands at the upper one follows from the size
    ``out`` of the result.
    """
    span = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    total = reach(x.shape[2:], out, span, stride)
    padded = pad(x, before, [t - b for t, b in zip(total, before, strict=True)], mode=mode)
    batch, features = len(x), len(weight)
    grouped = weight.reshape(groups, features // groups, *weight.shape[1:])
    columns = padded.reshape(batch, groups, weight.shape[1], -1)
    result = np.zeros((batch, features, *out))
    for offset in itertools.product(*(range(k) for k in weight.shape[2:])):
        # Channels first, then the window: for few features that is less to move than the windows of all channels.
        mixed = grouped[(slice(None), slice(None), slice(None), *offset)] @ columns
        mixed = mixed.reshape(batch, features, *padded.shape[2:])
        result += mixed[(slice(None), slice(None), *strided(offset, dilation, stride, out))]
    return result


def convolution_gradient(
    gradient: np.ndarray,
    weight: np.ndarray,
    sizes: Sequence[int],
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    before: Sequence[int],
) -> np.ndarray:
    """The gradient for the input, of spatial ``sizes``, of a convolution that pads with zeros."""
    out = gradient.shape[2:]
    batch, features = gradient.shape[:2]
    span = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    extent = [(o - 1) * s + k for o, k, s in zip(out, span, stride, strict=True)]
    padded = np.zeros((batch, weight.shape[1] * groups, *extent))
    grouped = weight.reshape(groups, features // groups, *weight.shape[1:])
    columns = gradient.reshape(batch, groups, features // groups, -1)
    for offset in itertools.product(*(range(k) for k in weight.shape[2:])):
        share = grouped[(slice(None), slice(None), slice(None), *offset)].swapaxes(1, 2) @ columns
        target = (slice(None), slice(None), *strided(offset, dilation, stride, out))
        padded[target] += share.reshape(batch, -1, *out)
    after = [e - b - n for e, b, n in zip(extent, before, sizes, strict=True)]
    return pad(padded, [-b for b in before], [-a for a in after])


def strided(
    offset: Sequence[int], dilation: Sequence[int], stride: Sequence[int], out: Sequence[int]
) -> tuple[slice, ...]:
    """What one position of the kernel meets along each axis of a padded image."""
    return tuple(
        slice(o * d, o * d + (n - 1) * s + 1, s) for o, d, s, n in zip(offset, dilation, stride, out, strict=True)
    )


def torch_padding(padding: Any, span: Sequence[int]) -> tuple[int, ...]:
    """The padding at the lower end that PyTorch's option asks for; 'same' has an odd pixel at the upper end."""
    if padding == "same":
        return tuple((k - 1) // 2 for k in span)
    return (0,) * len(span) if padding == "valid" else as_tuple(padding, len(span))
