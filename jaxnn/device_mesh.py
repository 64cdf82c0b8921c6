"""Where the arrays of a run lie: on one device, or shared by those of a mesh (jax.sharding).

What a step computes does not depend on it: XLA divides the one program among the devices by the shardings that these
classes put on a batch and on the state, and adds the communication that this needs.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnn import hosts
from jaxnn.errors import UserError
from jaxnn.mesh_shape import MeshShape

Pytree = Any

_AXES = ("data", "model")
_LEAST = 1024  # numbers in an array that is worth sharing: to gather a smaller one costs more than it saves


class OneDevice:
    """The default device."""

    shape = MeshShape()
    of_examples: NamedSharding | None = None
    """How a batch lies on several."""

    def spread(self, tree: Pytree) -> Pytree:
        """In compiled code: the first axis, of examples, is shared by all devices, evenly or not."""
        return tree

    def hold(self, state: Pytree) -> Pytree:
        """In compiled code: parameters and optimizer state lie as each device has its share of them."""
        return state

    def gather(self, tree: Pytree) -> Pytree:
        """In compiled code: every device has all of ``tree``."""
        return tree

    def rows(self, batch: int) -> slice:
        """Which examples of a batch the devices of this process need."""
        del batch
        return slice(None)

    def place_state(self, state: Pytree) -> Pytree:
        """What ``hold`` says, of arrays that every process has whole."""
        return self.place(state)

    def place(self, tree: Pytree, axis: int | None = None) -> Pytree:
        """Arrays that every process has whole; ``axis``: of examples, shared if that is possible evenly."""
        del axis
        return jax.tree.map(jnp.asarray, tree)

    def place_batch(self, tree: Pytree, batch: int) -> Pytree:
        """Arrays of the examples in ``rows(batch)``, their first axis."""
        del batch
        return tree

    def fetch(self, tree: Pytree) -> Pytree:
        """Arrays of which every device has all, on the host."""
        return jax.device_get(tree)

    def fetch_state(self, state: Pytree) -> Pytree:
        """The state as a checkpoint takes it: on the host, or, if several processes have their parts of it, a copy."""
        return jax.device_get(state)


class DeviceMesh(OneDevice):
    """The devices of all processes, or the first of them. Raises UserError if there are too few."""

    def __init__(self, shape: MeshShape) -> None:
        devices = jax.devices()
        if shape.devices > len(devices) or (hosts.many() and shape.devices != len(devices)):
            raise UserError(f"the mesh {shape} needs {shape.devices} devices, but there are {_counted(devices)}")
        self.shape = shape
        self._mesh = Mesh(np.array(devices[: shape.devices]).reshape(shape.data, shape.model), _AXES)
        self._whole = NamedSharding(self._mesh, PartitionSpec())
        self.of_examples = self._of_examples(0)

    def spread(self, tree: Pytree) -> Pytree:
        return jax.lax.with_sharding_constraint(tree, self._of_examples(0))

    def hold(self, state: Pytree) -> Pytree:
        return jax.lax.with_sharding_constraint(state, jax.tree.map(self._of_state, state))

    def gather(self, tree: Pytree) -> Pytree:
        return jax.lax.with_sharding_constraint(tree, self._whole)

    def rows(self, batch: int) -> slice:
        if batch % self.shape.devices:
            return slice(None)
        mine = self._of_examples(0).addressable_devices_indices_map((batch,)).values()
        bounds = [each[0].indices(batch) for each in mine if each is not None]
        return slice(min(start for start, _, _ in bounds), max(stop for _, stop, _ in bounds))

    def place_state(self, state: Pytree) -> Pytree:
        return jax.tree.map(lambda leaf: _global(leaf, self._of_state(leaf)), state)

    def place(self, tree: Pytree, axis: int | None = None) -> Pytree:
        def sharding(leaf: Any) -> NamedSharding:
            even = axis is not None and np.shape(leaf)[axis] % self.shape.devices == 0
            return self._of_examples(axis) if axis is not None and even else self._whole

        return jax.tree.map(lambda leaf: _global(leaf, sharding(leaf)), tree)

    def place_batch(self, tree: Pytree, batch: int) -> Pytree:
        sharding = self._whole if batch % self.shape.devices else self._of_examples(0)

        def placed(leaf: np.ndarray) -> jax.Array:
            return jax.make_array_from_process_local_data(sharding, leaf, (batch, *leaf.shape[1:]))

        return jax.tree.map(placed, tree)

    def fetch_state(self, state: Pytree) -> Pytree:
        return jax.tree.map(jnp.copy, state) if hosts.many() else jax.device_get(state)

    def _of_examples(self, axis: int) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*[None] * axis, _AXES))

    def _of_state(self, leaf: Any) -> NamedSharding:
        """By shape alone, so that a parameter and what the optimizer keeps for it lie alike."""
        shape, share = np.shape(leaf), self.shape.model
        even = [size if size % share == 0 else 0 for size in shape]
        if share == 1 or np.size(leaf) < _LEAST or not any(even):
            return self._whole
        axis = even.index(max(even))
        return NamedSharding(self._mesh, PartitionSpec(*[None] * axis, "model"))


Devices: TypeAlias = OneDevice


def build(shape: MeshShape | None) -> Devices:
    """The devices of ``shape``; for None all if there are several processes, and else one."""
    if shape is None and hosts.many():
        shape = MeshShape(data=jax.device_count())
    return OneDevice() if shape is None else DeviceMesh(shape)


def _global(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array that all processes have whole, of which each takes the shares of its devices."""
    value = np.asarray(leaf)
    take: Callable[..., np.ndarray] = value.__getitem__
    return jax.make_array_from_callback(value.shape, sharding, take)


def _counted(devices: list[Any]) -> str:
    count = f"{len(devices)} ({devices[0].device_kind})"
    if hosts.many():
        return f"{count}; all of the {jax.process_count()} processes take part"
    simulated = ", or XLA_FLAGS=--xla_force_host_platform_device_count=N to try it on a CPU"
    return f"{count}; use --mesh data={len(devices)}{simulated if devices[0].platform == 'cpu' else ''}"
