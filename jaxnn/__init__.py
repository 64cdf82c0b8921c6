"""Train neural networks in JAX, and prove that they compute what their PyTorch originals compute.

The modules are imported when they are first used, so that ``import jaxnn`` and reading recipes cost
nothing: ``jaxnn.recipes``, ``jaxnn.data``, ``jaxnn.models``, ``jaxnn.nn``, ``jaxnn.losses``,
``jaxnn.optim``, ``jaxnn.schedules``, ``jaxnn.loop``.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = {
    "data",
    "evaluation",
    "experiment",
    "loop",
    "losses",
    "models",
    "nn",
    "optim",
    "parity",
    "recipe",
    "recipes",
    "run_dir",
    "schedules",
    "step",
    "torch_random",
}


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"jaxnn.{name}")
    raise AttributeError(f"module 'jaxnn' has no attribute {name!r}")
