"""What a run ran on: versions, devices, threads, precision flags, data."""

import importlib.metadata
from typing import Any

import torch

from jaxnn.data import Dataset

_PACKAGES = ("jaxnn", "torch", "numpy")


def describe(dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """The content of environment.json for a PyTorch run on ``device``."""
    return platform(device) | {"data": dataset.record()}


def platform(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads and precision flags of PyTorch's side."""
    return {
        "framework": "torch",
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "backend": device.type,
        "devices": [torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"],
        "mesh": None,
        "threads": torch.get_num_threads(),
        "precision": {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        },
    }
