"""What a run ran on: versions, devices, precision flags, data."""

import importlib.metadata
import os
from typing import Any

import jax

from jaxnn import precision
from jaxnn.data import Dataset

_PACKAGES = ("jaxnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(dataset: Dataset) -> dict[str, Any]:
    """The content of environment.json for a JAX run."""
    return platform() | {"data": dataset.record()}


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
