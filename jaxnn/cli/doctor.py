"""``jaxnn doctor``"""

import dataclasses
import json as json_format
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from jaxnn.cli import backends
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stdout
from jaxnn.doctor import facts, traps
from jaxnn.doctor.facts import Facts
from jaxnn.errors import Ended, first_line


@dataclass(frozen=True)
class Options:
    """Versions, devices, precision, threads, caches and data of this machine, and the traps in them. Exit code 1 if a
    framework that is installed cannot start."""

    data_dir: Path | None = None
    """The only place to search for data."""
    json: bool = False
    """Print one JSON object."""


def run(argv: list[str]) -> int:
    options = parse(Options, argv, prog="jaxnn doctor")
    found = _with_frameworks(facts.gather(options.data_dir))
    warnings = traps.find(found)
    if options.json:
        print(json_format.dumps(dataclasses.asdict(found) | {"warnings": warnings}))
    else:
        _show(found)
        for sentence in found.problems:
            print(f"broken: {sentence}")
        for sentence in warnings:
            print(f"warning: {sentence}")
        count = f"{len(warnings) or 'no'} warning{'s' * (len(warnings) != 1)}"
        print(f"{len(found.problems)} broken, {count}" if found.problems else count)
    return 1 if found.problems else 0


def _with_frameworks(found: Facts) -> Facts:
    """The facts with both frameworks' words, or why one of them cannot start."""
    problems: list[str] = []
    jax = torch = None
    try:
        from jaxnn import environment

        jax = environment.facts()
    except Exception as error:  # whatever a broken installation or driver raises
        problems.append(f"JAX cannot start: {first_line(error)}")
    if "torch" in found.versions:
        try:
            torch = backends.torch_facts()
        except Ended:
            command = f"{sys.executable} -m torchref environment"
            problems.append(f"PyTorch is installed, but cannot start: `{command}` says why")
    return dataclasses.replace(found, jax=jax, torch=torch, problems=tuple(problems))


def _show(found: Facts) -> None:
    table = Table(show_header=False, box=box.SIMPLE)
    for name, text in _rows(found):
        table.add_row(name, text)
    stdout().print(table)


def _rows(found: Facts) -> Iterator[tuple[str, str]]:
    yield "system", f"{found.system}, Python {found.python}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())
    if found.gpus:
        yield "nvidia-smi", ", ".join(found.gpus)
    for name, framework in {"JAX": found.jax, "PyTorch": found.torch}.items():
        if framework:
            yield f"{name}: devices", f"{framework['backend']}: {', '.join(framework['devices'])}"
            yield f"{name}: precision", ", ".join(_flags(framework))
    cores = found.cores
    yield "cores", f"{cores.allowed} allowed, {cores.affinity} by affinity, {cores.machine} in the machine"
    counts = {"XLA on a CPU": found.jax, "PyTorch": found.torch}
    threads = [f"{name} {framework['threads']}" for name, framework in counts.items() if framework]
    yield "threads", ", ".join(threads)
    if found.torch:
        runtimes = ", ".join(f"{runtime['prefix']} ({runtime['path']})" for runtime in found.torch["openmp"])
        yield "OpenMP with PyTorch", runtimes or "none"
    yield "variables", " ".join(f"{name}={value}" for name, value in found.variables.items()) or "none that matter"
    for cache in found.caches:
        yield (
            f"cache: {cache.holds}",
            f"{cache.path}, {cache.bytes / 2**20:.0f} MiB{'' if cache.writable else ', not writable'}",
        )
    yield "data", "\n".join(f"{row.name}: {row.where if row.found else 'not found; ' + row.how}" for row in found.data)


def _flags(framework: dict[str, Any]) -> Iterator[str]:
    for name, value in framework["precision"].items():
        yield f"{name} {'on' if value is True else 'off' if value is False else value or 'default'}"
    if framework["framework"] == "jax":
        yield "(jaxnn's runs set both by --precision; without x64 your own code's float64 becomes float32)"
