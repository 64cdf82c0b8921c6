"""PyTorch's default CPU generator in NumPy: the numbers of torch.manual_seed(seed), bit for bit.

torch's CPU generator is the Mersenne Twister MT19937 with its classic seeding. What differs from
NumPy is how its 32-bit words become numbers (ATen/core/DistributionsHelper.h and
ATen/native/cpu/DistributionTemplates.h): a float32 takes the low 24 bits of one word, a float64 or
an int64 two words, the high one first.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from jaxnn.torch_normal import box_muller

_AT_ONCE = 2**20  # numbers; a layer of VGG has 100 million


class TorchGenerator:
    """The stream of torch.manual_seed(seed): each call advances it as the torch call of that name does."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.MT19937()
        self._words._legacy_seeding(seed & 0xFFFFFFFF)  # type: ignore[attr-defined]  # torch seeds with the low 32 bits

    def rand(self, shape: int | tuple[int, ...]) -> Float32[np.ndarray, "..."]:
        """torch.rand(shape): float32 in [0, 1)."""
        return self._filled(shape, self._rand)

    def uniform(self, shape: int | tuple[int, ...], bound: float) -> Float32[np.ndarray, "..."]:
        """torch.empty(shape).uniform_(-bound, bound): float32."""
        low, high = np.float32(-bound), np.float32(bound)

        def draw(n: int) -> np.ndarray:
            # torch computes r * (high - low) + low as one fused multiply-add: exact product, one rounding.
            return self._rand(n).astype(np.float64) * np.float64(high - low) + np.float64(low)

        return self._filled(shape, draw)

    def normal(self, shape: int | tuple[int, ...], std: float) -> Float32[np.ndarray, "..."]:
        """torch.empty(shape).normal_(0, std) for 16 or more numbers: float32."""
        size = math.prod(_as_shape(shape))
        if size < 16:
            raise ValueError(f"torch draws fewer than 16 normal numbers in another way, got shape {shape}")
        whole = size - size % 16
        drawn = self._filled(whole, lambda n: box_muller(self._rand(n), std))
        if size > whole:  # torch draws the last 16 anew
            self._draw(size - whole)
            drawn = np.concatenate([drawn[: size - 16], box_muller(self._rand(16), std)])
        return drawn.reshape(shape)

    def randint(self, low: int, high: int, shape: int | tuple[int, ...]) -> Int64[np.ndarray, "..."]:
        """torch.randint(low, high, shape) for a range below 2**28: [low, high)."""
        words = self._draw(math.prod(_as_shape(shape)))
        return (words % np.uint64(high - low)).astype(np.int64).reshape(shape) + low

    def randperm(self, n: int) -> Int64[np.ndarray, " n"]:
        """torch.randperm(n): a Fisher-Yates shuffle from the front."""
        if n < 2:
            return np.arange(n)
        offsets = (self._draw(n - 1) % np.arange(n, 1, -1, dtype=np.uint64)).tolist()
        order = list(range(n))
        for i, offset in enumerate(offsets):
            order[i], order[i + offset] = order[i + offset], order[i]
        return np.array(order)

    def random_int64(self) -> int:
        """torch.empty((), dtype=torch.int64).random_().item(): in [0, 2**63)."""
        high, low = self._draw(2).tolist()
        return ((high << 32) | low) & (2**63 - 1)

    def bernoulli(self, shape: tuple[int, ...], probability: float) -> Bool[np.ndarray, "..."]:
        """torch.empty(shape).bernoulli_(probability) != 0, the mask of a dropout of 1 - probability.

        Of torch 2.7 and later; before, MKL drew other numbers from the same seed on Intel's CPUs.
        """
        words = self._draw(2 * math.prod(shape)).reshape(-1, 2)
        bits = ((words[:, 0] << np.uint64(32)) | words[:, 1]) & np.uint64(2**53 - 1)
        return (bits.astype(np.float64) * 2.0**-53 < probability).reshape(shape)

    def epoch_order(self, n: int, *, shuffle: bool) -> Int64[np.ndarray, " n"]:
        """The order in which a fresh iterator of a single-process DataLoader visits n examples.

        The iterator draws the seed of its (here unused) workers first; a shuffling sampler then
        draws the seed of a generator of its own.
        """
        self.random_int64()
        return TorchGenerator(self.random_int64()).randperm(n) if shuffle else np.arange(n)

    def state(self) -> dict[str, Any]:
        """The position in the stream, as JSON-able numbers."""
        inner: Any = self._words.state["state"]
        return {"key": inner["key"].tolist(), "pos": int(inner["pos"])}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to the position that ``state()`` returned."""
        key = np.array(state["key"], dtype=np.uint32)
        self._words.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": state["pos"]}}

    def _rand(self, n: int) -> np.ndarray:
        return (self._draw(n) & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)

    def _filled(self, shape: int | tuple[int, ...], draw: Callable[[int], np.ndarray]) -> np.ndarray:
        """float32 numbers of ``shape`` from draws of bounded size."""
        flat = np.empty(math.prod(_as_shape(shape)), np.float32)
        for start in range(0, flat.size, _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            part[:] = draw(part.size)
        return flat.reshape(shape)

    def _draw(self, n: int) -> np.ndarray:
        """The next n words, as uint64 so that they can be shifted and joined."""
        return self._words.random_raw(n)


def _as_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else shape
