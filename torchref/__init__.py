"""PyTorch's side: the recipes' mirror, and recordings of any PyTorch model."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "capture":  # imported when first used: the command line's child process needs no recorder
        from torchref.recorder import capture

        return capture
    raise AttributeError(f"module 'torchref' has no attribute {name!r}")
