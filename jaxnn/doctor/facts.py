"""What there is on this machine that decides how fast a run is and what it computes."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from jaxnn import compilation_cache
from jaxnn import cores as processors
from jaxnn.data import cache
from jaxnn.data.survey import Listed, inventory

# Beside the packages that jaxnn needs: what they compute with, and what can be added.
_ALSO = ("jaxlib", "torch", "torchvision", "onnx", "onnxruntime", "jax2onnx", "tensorboard")
_VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "MKL_NUM_THREADS", "NPROC", "NVIDIA_TF32_OVERRIDE"),
    *("OMP_NUM_THREADS", "XLA_FLAGS"),
)


@dataclass(frozen=True)
class Cores:
    """Processors: of the machine, those that this process may run on, and that share of them a container grants."""

    machine: int
    affinity: int
    allowed: int


@dataclass(frozen=True)
class Cache:
    """A folder of things kept between commands; ``bytes`` is 0 where it is not there yet."""

    holds: str
    path: str
    bytes: int
    writable: bool


@dataclass(frozen=True)
class Facts:
    """``jax`` and ``torch``: the frameworks' own words (see jaxnn.environment, torchref.environment).

    None stands for one that is not installed or, with a sentence in ``problems``, cannot start. ``unsupported`` has
    a clause for each version outside the range that jaxnn is made for.
    """

    python: str
    system: str
    versions: dict[str, str]
    unsupported: tuple[str, ...]
    cores: Cores
    gpus: tuple[str, ...]
    variables: dict[str, str]
    caches: tuple[Cache, ...]
    data: tuple[Listed, ...]
    jax: dict[str, Any] | None = None
    torch: dict[str, Any] | None = None
    problems: tuple[str, ...] = field(default=())


def gather(data_dir: str | os.PathLike[str] | None = None) -> Facts:
    """All but the frameworks' words; ``data_dir`` is the only place searched for data if it is given."""
    return Facts(
        python=platform.python_version(),
        system=platform.platform(),
        versions=dict(_versions()),
        unsupported=tuple(_unsupported()),
        cores=cores(),
        gpus=_gpus(),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        caches=tuple(_caches()),
        data=tuple(inventory(data_dir)),
    )


def cores() -> Cores:
    """joblib knows the quotas of Linux containers, which neither Python, XLA nor PyTorch ask for."""
    return Cores(os.cpu_count() or 1, processors.usable(), joblib.cpu_count())


def _required() -> Iterator[Requirement]:
    """What jaxnn says it needs, PyTorch included."""
    for text in importlib.metadata.requires("jaxnn") or ():
        requirement = Requirement(text)
        if requirement.specifier and (requirement.marker is None or requirement.marker.evaluate({"extra": "torch"})):
            yield requirement


def _versions() -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(("jaxnn", *sorted(requirement.name for requirement in _required()), *_ALSO)):
        if version := _version(name):
            yield name, version


def _unsupported() -> Iterator[str]:
    python = SpecifierSet(importlib.metadata.metadata("jaxnn")["Requires-Python"] or "")
    if not python.contains(platform.python_version(), prereleases=True):
        yield f"Python {platform.python_version()} ({python})"
    for requirement in _required():
        version = _version(requirement.name)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} ({requirement.specifier})"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that the driver shows, whatever the frameworks make of them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        query = [command, "--query-gpu=name", "--format=csv,noheader"]
        shown = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in shown.stdout.splitlines() if line.strip()) if shown.returncode == 0 else ()


def _caches() -> Iterator[Cache]:
    programs, decoded = compilation_cache.folder(), cache.folder()
    kept = [path for path in _files(decoded) if programs not in path.parents]
    yield Cache("data", str(decoded), sum(map(_size, kept)), _writable(decoded))
    yield Cache("compiled programs", str(programs), sum(map(_size, _files(programs))), _writable(programs))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # another command has removed it
        return 0


def _writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``, or the folder itself where it is not there yet. Leaves nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False
