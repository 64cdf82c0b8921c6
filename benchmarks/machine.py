"""On what a measurement ran."""

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from jaxnn import cores

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")


def describe(devices: dict[str, str]) -> dict[str, Any]:
    """Processor, cores, the ``devices`` of both frameworks, versions and the date."""
    return {
        "processor": _processor(),
        "cores": cores.usable(),
        "devices": devices,
        "system": platform.system(),
        "python": platform.python_version(),
        **_versions(),
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def name() -> str:
    """For a file: the processor and how many cores of it, such as amd-epyc-2-cores."""
    return re.sub(r"[^a-z0-9]+", "-", f"{_processor()} {cores.usable()} cores".lower()).strip("-")


def _versions() -> dict[str, str]:
    """Of the packages that are installed."""
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in _PACKAGES if name in installed}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return re.sub(r"\s+", " ", re.sub(r"\(R\)|\(TM\)| Processor| CPU", "", found[1])).strip()
    return platform.processor() or platform.machine()
