"""The file of what a step moves and computes on meshes of this machine, and of what is projected from it."""

import json
from pathlib import Path
from typing import Any

from jaxnn.errors import UserError
from jaxnn.files import write_atomically
from jaxnn.mesh_shape import MeshShape

_ONE = ("recipe", "mesh", "precision", "batch_norm", "batch_size")  # no two rows agree in all


def read(file: Path) -> dict[str, Any]:
    """{"rows": [...], ...}, without rows if ``file`` is not there. Raises UserError if it is no such file."""
    if not file.exists():
        return {"rows": []}
    try:
        content = json.loads(file.read_text())
        if not isinstance(content, dict) or not isinstance(content["rows"], list):
            raise ValueError
    except (ValueError, KeyError):
        raise UserError(f"{file} is not a file of scaling figures; move it away or name another --out") from None
    return content


def add(file: Path, rows: list[dict[str, Any]]) -> None:
    """Rows measured anew take the place of older ones."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in _ONE)

    content = read(file)
    found = {key(row): row for row in (*content["rows"], *rows)}
    ordered = sorted(found.values(), key=_place)
    write(file, content | {"rows": ordered})


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    mesh = MeshShape.parse(row["mesh"])
    return row["recipe"], row["batch_norm"], mesh.devices, mesh.model


def write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(content, indent=1) + "\n")
