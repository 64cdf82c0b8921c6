"""A convolution padded otherwise: every padding that gives an image of JAX's size."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Claim
from jaxnn.parity.diagnosis.reference.convolution import MODES, as_tuple, convolve, reach, torch_padding
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError
from jaxnn.parity.recording import Layer


@dataclass(frozen=True)
class Geometry:
    """Of a convolution; ``span`` is how far its window reaches, ``before`` PyTorch's padding at the lower ends."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    span: tuple[int, ...]
    before: tuple[int, ...]
    mode: str

    def convolved(
        self, x: np.ndarray, weight: np.ndarray, out: Sequence[int], *, before: Sequence[int], mode: str
    ) -> np.ndarray:
        """Without the bias. Raises NotSimulatedError if the image is too small for the padding."""
        try:
            return convolve(x, weight, stride=self.stride, dilation=self.dilation, groups=self.groups,
                            before=before, out=out, mode=mode)  # fmt: skip
        except ValueError as error:
            raise NotSimulatedError(f"padding {mode}") from error


def geometry(layer: Layer, window: Sequence[int]) -> Geometry:
    """As the options of a Conv layer say; ``window`` is the kernel's size."""
    stride, dilation = (as_tuple(layer.options.get(key, 1), len(window)) for key in ("stride", "dilation"))
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    before = torch_padding(layer.options.get("padding", 0), span)
    groups, mode = layer.options.get("groups", 1), layer.options.get("padding_mode", "zeros")
    return Geometry(stride, dilation, groups, span, before, mode)


@dataclass(frozen=True)
class Padding:
    """``before`` is the padding at the lower end of each axis; how much stands at the upper one follows."""

    before: tuple[int, ...]
    mode: str
    claim: Claim


def paddings(layer: Layer, g: Geometry, sizes: Sequence[int], out: Sequence[int]) -> Iterator[Padding]:
    """Those that make images of spatial ``sizes`` ones of ``out``: with PyTorch's mode anywhere, else in its place."""
    total = reach(sizes, out, g.span, g.stride)
    if any(not -s < t <= 2 * k for t, s, k in zip(total, g.stride, g.span, strict=True)):
        return  # no padding explains so large or small an image
    same = tuple(max(t, 0) // 2 for t in total)
    every = itertools.product(*(range(max(t + s, 1)) for t, s in zip(total, g.stride, strict=True)))
    own_size = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(sizes, g.before, g.span, g.stride, strict=True))
    is_same = list(out) == [math.ceil(n / s) for n, s in zip(sizes, g.stride, strict=True)]
    for mode in dict.fromkeys([g.mode, *MODES]):
        places = [same, (0,) * len(out), g.before, *every] if mode == g.mode else [same, g.before]
        for before in dict.fromkeys(places):
            if mode == g.mode and before == g.before and tuple(out) == own_size:
                continue  # that is PyTorch's own
            ends = tuple((b, max(t - b, 0)) for b, t in zip(before, total, strict=True))
            named = " ('SAME')" if is_same and before == same else ""
            yield Padding(before, mode, _claim(layer, g, f"padding {ends}{named}", mode))


def _claim(layer: Layer, g: Geometry, kind: str, mode: str) -> Claim:
    option = layer.options.get("padding", 0)
    says = f"{kind} by {mode} in place of PyTorch's padding={option}, padding_mode={g.mode!r}"
    fix = f"give the convolution padding={tuple((b, b) for b in g.before)}: flax's default is 'SAME', PyTorch's is 0"
    if mode != g.mode:
        fix = f"pad with jnp.pad(x, ..., mode={MODES[g.mode]!r}) and convolve 'VALID', for padding_mode={g.mode!r}"
    return Claim(cause="padding", says=says, fix=fix)
