"""An NNX model taken apart, with PyTorch's weights in it, and the way back to PyTorch's names and layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flax import nnx, traverse_util
from jax import Array

from jaxnn.interop.layout import Activations
from jaxnn.parity.port.calls import Path
from jaxnn.parity.port.interception import Masks
from jaxnn.parity.port.objectives import Loss
from jaxnn.parity.port.pairing import Pairing
from jaxnn.parity.recording import Arrays

Pytree = Any


@dataclass(frozen=True, kw_only=True)
class Port:
    """An NNX model that holds PyTorch's weights, taken apart; ``params`` and ``buffers`` are nested dicts."""

    graph: Any
    params: Pytree
    buffers: Pytree
    rest: Pytree
    pairing: Pairing
    activations: Activations
    loss: Loss

    def layer_names(self) -> dict[tuple[Path, int], str]:
        """The PyTorch layer of each call."""
        return {call: name for name, call in self.pairing.calls.items()}

    def masks(self, arrays: Sequence[Any]) -> Masks:
        return Masks(arrays, self.activations)

    def merged(self, params: Pytree, buffers: Pytree) -> nnx.Module:
        return nnx.merge(self.graph, params, buffers, self.rest)

    def in_torch(self, params: Pytree, buffers: Pytree | None = None) -> dict[str, Array]:
        """Leaves by state_dict key, in PyTorch's layout."""
        flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(buffers or {})
        return {key: layout.to_torch(flat[path]) for key, (path, layout) in self.pairing.leaves.items() if path in flat}

    def slot_in_torch(self, tree: Pytree) -> dict[str, Array]:
        """A slot of the optimizer's state; a scalar for each parameter (NAdam's product of momenta) has no axes."""
        flat: dict[Any, Any] = traverse_util.flatten_dict(tree)
        return {
            key: flat[path] if flat[path].ndim == 0 else layout.to_torch(flat[path])
            for key, (path, layout) in self.pairing.leaves.items()
            if path in flat
        }

    def gradients_in_nnx(self, gradients: Arrays) -> Pytree:
        """PyTorch's gradients as a tree like the parameters, None where PyTorch has none."""
        flat: dict[Any, Any] = dict.fromkeys(traverse_util.flatten_dict(self.params))
        for key, (path, layout) in self.pairing.leaves.items():
            if key in gradients:
                flat[path] = layout.to_nnx(gradients[key])
        return traverse_util.unflatten_dict(flat)
