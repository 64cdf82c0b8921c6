"""The loss surface as a page that can be turned: no network, its own script, every number inside."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxnn import page
from jaxnn.plots.surface import PATHS

_STRIDE = 2  # of the lesson's grid: what a browser draws at once, without WebGL


def surface_page(numbers: Mapping[str, np.ndarray]) -> str:
    """HTML of the numbers of the lesson ``loss-surface``, turned by mouse, touch and keys."""
    paths = [
        {
            "name": name,
            "label": label,
            "points": _rounded(numbers[f"{name}_path"]),
            "losses": _rounded(numbers[f"{name}_losses"]),
        }
        for name, (label, _) in PATHS.items()
    ]
    content = {
        "axis": _rounded(numbers["axis"][::_STRIDE]),
        "surface": _rounded(numbers["surface"][::_STRIDE, ::_STRIDE]),
        "minimum": _rounded(numbers["minimum"]),
        "paths": paths,
    }
    environment = page.environment(Path(__file__).parent / "templates")
    return environment.get_template("surface.html").render(content=json.dumps(content), paths=paths)


def _rounded(values: np.ndarray) -> list:
    return np.round(values, 5).tolist()
