"""The documents' worked examples in PyTorch, one a module; jaxnn.lessons has the same in JAX, to the same digits."""

import importlib

from jaxnn import course
from torchref.precision import default_dtype


def run(name: str, *, seed: int) -> course.Lesson:
    """The lesson ``name`` of ``jaxnn.course.LESSONS``: drawn in float32 as the documents do, computed in float64."""
    with default_dtype("float32"):
        return importlib.import_module(f"torchref.lessons.{course.module(name)}").run(seed=seed)
