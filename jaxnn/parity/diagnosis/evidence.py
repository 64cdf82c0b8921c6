"""What a diagnosis is made from, and how its numbers are found."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.recording import Arrays, Layer, Op, Recording, under
from jaxnn.parity.report import Entry


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """``left`` is PyTorch's recording, the reference, ``right`` JAX's; ``entries`` are all of their comparison.

    ``history``: step (from 1) -> (PyTorch's arrays of the step, JAX's), kept for the steps 1 to 3, for the first
    that failed and for the one before it.
    """

    left: Recording
    right: Recording
    entries: tuple[Entry, ...]
    history: Mapping[int, tuple[Arrays, Arrays]]

    @property
    def fed(self) -> bool:
        """Whether each of JAX's layers was given the reference's input, so that differences are its own."""
        return any(key.startswith("alone/") for key in self.right.arrays)

    def index(self, name: str) -> int | None:
        """Of a layer in the order of calls."""
        return next((i for i, layer in enumerate(self.left.layers) if layer.name == name), None)

    def reference(self, layer: str, what: str) -> np.ndarray | None:
        return array(self.left.arrays, f"forward/{layer}/{what}")

    def observed(self, layer: str, what: str) -> np.ndarray | None:
        """JAX's: of the layer alone, or of the whole pass where nothing else was recorded."""
        alone = array(self.right.arrays, f"alone/{layer}/{what}")
        return alone if self.fed else array(self.right.arrays, f"forward/{layer}/{what}")

    def weights(self, layer: Layer) -> dict[str, np.ndarray]:
        """The reference's parameters and buffers of a layer, by their short names, at the start."""
        return {name: wide(value) for name, value in of_module(self.left.arrays, "weight", layer.module).items()}

    def in_both(self, layer: Layer) -> bool:
        """Whether JAX has this layer as a layer too, rather than as a call between two."""
        return f"{'alone' if self.fed else 'forward'}/{layer.name}/output" in self.right.arrays

    def mask(self, op: Op) -> np.ndarray | None:
        """What the call of a dropout kept; None for any other function, and if it dropped nothing."""
        return self.left.arrays.get(f"mask/{op.options['mask']}") if "mask" in op.options else None


def of_module(arrays: Arrays, kind: str, module: str) -> dict[str, np.ndarray]:
    """The arrays of a kind ("weight", "buffer") that a module owns itself, by their short names."""
    start = f"{module}."
    found = {key.removeprefix(start): value for key, value in under(arrays, kind).items() if key.startswith(start)}
    return {name: value for name, value in found.items() if "." not in name}


def array(arrays: Arrays, key: str) -> np.ndarray | None:
    value = arrays.get(key)
    return None if value is None else wide(value)


def wide(value: np.ndarray) -> np.ndarray:
    """Every computation here is in float64."""
    return np.asarray(value, np.float64)
