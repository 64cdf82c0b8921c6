"""The file of a machine's figures: {"table": {...}, "batch_sizes": {...}}, each section measured in one go."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from jaxnn.errors import UserError
from jaxnn.files import write_atomically

from .settings import Settings

Section = Literal["table", "batch_sizes"]


def path(folder: Path, machine_name: str, settings: Settings) -> Path:
    """float32's own name is the machine's; others say their precision."""
    kind = "" if settings.precision == "float32" else f"-{settings.precision}"
    return folder / f"{machine_name}{kind}{'-tf32' if settings.tf32 else ''}.json"


def read(file: Path) -> dict[str, Any]:
    """What ``file`` holds, {} if it is not there. Raises UserError if it is no such file."""
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text())
        if not isinstance(content, dict) or not set(content) <= {"table", "batch_sizes"}:
            raise ValueError
    except ValueError:
        raise UserError(f"{file} is not a file of benchmark figures; move it away or name another --out") from None
    return content


def write(file: Path, section: Section, machine: dict[str, Any], settings: Settings, fields: dict[str, Any]) -> None:
    """Replaces one section; a reader never sees half a file."""
    content = read(file) | {section: {"machine": machine, "settings": dataclasses.asdict(settings)} | fields}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(content, indent=1) + "\n")
