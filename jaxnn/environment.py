"""What a run ran on: versions, devices, precision flags, data."""

import importlib.metadata
import os
from typing import Any

import jax

from jaxnn import cores, precision
from jaxnn.data import Dataset
from jaxnn.mesh_shape import MeshShape

_SWITCHES = (
    *("jax_disable_jit", "jax_debug_nans", "jax_debug_infs", "jax_check_tracer_leaks"),
    "jax_enable_compilation_cache",
)
_PACKAGES = ("jaxnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(dataset: Dataset, mesh: MeshShape | None = None) -> dict[str, Any]:
    """The content of environment.json for a JAX run on one device, or on those of ``mesh``."""
    of_several = {"mesh": mesh.record(), "processes": jax.process_count()} if mesh and mesh.devices > 1 else {}
    return platform() | of_several | {"data": dataset.record()}


def platform() -> dict[str, Any]:
    """Versions, devices and precision flags of JAX's side."""
    return {
        "framework": "jax",
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "mesh": None,
        "precision": precision.flags(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "nproc": os.environ.get("NPROC"),  # see jaxnn.threads
    }


def facts() -> dict[str, Any]:
    """The platform with what `jaxnn doctor` asks for: switches, the GPU's compute capability, threads on a CPU.

    XLA's CPU client takes NPROC, or else a thread for each processor that the process may run on.
    """
    config: Any = jax.config  # its attributes are made at run time
    threads = os.environ.get("NPROC", "")
    return platform() | {
        "switches": {name: getattr(config, name) for name in _SWITCHES},
        "compute_capability": getattr(jax.devices()[0], "compute_capability", None),
        "threads": int(threads) if threads.isdecimal() else cores.usable(),
    }
