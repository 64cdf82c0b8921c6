"""torch.get_rng_state() of the CPU's generator, and TorchGenerator.state(): the same Mersenne Twister.

The bytes are the struct of ATen/CPUGeneratorImpl.h: seed, words left in the block, whether seeded, next word, the
block of 624 words in 64 bits each, and a normal number kept for later, which ends with unused fields.
"""

import struct
from typing import Any

import numpy as np

_HEAD = struct.Struct("=QiiQ")
_WORDS, _SIZE = 624, 5056


def to_bytes(state: dict[str, Any], *, seed: int) -> np.ndarray:
    """uint8 (5056,), for torch.set_rng_state; ``seed`` is what torch.initial_seed() will say."""
    head = _HEAD.pack(seed & (2**64 - 1), _WORDS + 1 - state["pos"], 1, state["pos"] % _WORDS)
    content = head + np.array(state["key"], np.uint64).tobytes()
    return np.frombuffer(content.ljust(_SIZE, b"\0"), np.uint8)


def from_bytes(content: np.ndarray) -> dict[str, Any]:
    """``TorchGenerator.state()`` of what torch.get_rng_state() gives."""
    raw = np.asarray(content, np.uint8).tobytes()
    _, left, _, _ = _HEAD.unpack_from(raw)
    key = np.frombuffer(raw, np.uint64, _WORDS, _HEAD.size)
    return {"key": key.astype(np.uint32).tolist(), "pos": _WORDS + 1 - left}
