"""What a run ran on: versions, devices, threads, precision flags, data."""

import importlib.metadata
from typing import Any

import threadpoolctl
import torch

from jaxnn.data import Dataset

_PACKAGES = ("jaxnn", "torch", "numpy")


def describe(dataset: Dataset, device: torch.device, processes: int = 1) -> dict[str, Any]:
    """The content of environment.json for a PyTorch run by ``processes``, of which this one is on ``device``."""
    mesh = {"data": processes} if processes > 1 else None
    return platform(device) | {"mesh": mesh, "data": dataset.record()}


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


def facts(device: torch.device) -> dict[str, Any]:
    """The platform with what `jaxnn doctor` asks for: all GPUs, TF32 in products, the OpenMP runtimes loaded here.

    jaxnn.data, which every run imports, brings scikit-learn's.
    """
    import sklearn.datasets  # noqa: F401

    described = platform(device)
    on_gpu = device.type == "cuda"
    return described | {
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        "cuda": torch.version.cuda,
        "compute_capability": "{}.{}".format(*torch.cuda.get_device_capability(device)) if on_gpu else None,
        "precision": described["precision"] | {"matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32},
        "interop_threads": torch.get_num_interop_threads(),
        "openmp": [
            {"prefix": pool["prefix"], "path": pool["filepath"]}
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "openmp"
        ],
    }
