"""Images whose memory JAX takes as it is on a CPU, without a second copy: aligned as XLA wants it, and read-only."""

import math
from gzip import GzipFile
from typing import IO

import numpy as np
from jaxtyping import UInt8

_ALIGNMENT = 64  # bytes; NumPy's own memory starts at multiples of 16
_PIECE = 2**20  # bytes read at a time


def empty(shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    """An array to be filled; see ``frozen``."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT - 1, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)


def frozen(array: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """The array itself, from now on read-only: JAX relies on shared memory to stay as it is."""
    array.flags.writeable = False
    return array


def read_into(array: UInt8[np.ndarray, "..."], stream: IO[bytes] | GzipFile) -> int:
    """Fills ``array`` with the bytes of ``stream``, piece by piece; the number of bytes, fewer where it ends early."""
    target = array.reshape(-1).data
    done = 0
    while piece := stream.read(min(_PIECE, len(target) - done)):
        target[done : done + len(piece)] = piece
        done += len(piece)
    return done
