"""The documents' worked examples in JAX, one a module, to be read from top to bottom.

Each draws its numbers as the PyTorch script draws them, in float32, and computes in float64, so that both frameworks
print the same digits.
"""

import importlib

from jaxnn import course


def run(name: str, *, seed: int) -> course.Lesson:
    """The lesson ``name`` of ``jaxnn.course.LESSONS``. Needs x64."""
    return importlib.import_module(f"jaxnn.lessons.{course.module(name)}").run(seed=seed)
