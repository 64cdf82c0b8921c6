"""The test suite on each supported Python, with the oldest and the newest versions that pyproject.toml allows.

    python .ci/matrix.py [--pythons 3.11 ...] [--versions oldest newest] [--extras onnx tensorboard torch]
                         [--tests "jaxnn/data -k idx"]

Each combination gets an environment of its own in .matrix/, made by uv. One that cannot be installed is skipped, and
the table at the end says why. Without torch among the extras the tests that need it are left out, and the table says
so. Exit code 1 if a suite failed, 2 if none ran.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).resolve().parents[1]
_FOLDER = _ROOT / ".matrix"
_RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
_TOOLS = ("beartype", "hypothesis", "pytest", "pytest-xdist")
_WITHOUT_TORCH = ["jaxnn", "benchmarks"]  # parity_tests and torchref are of PyTorch altogether
_SHOWN = ("jax", "flax", "optax", "numpy", "torch")


class Row(NamedTuple):
    """A line of the table: what was installed, and how the suite ended or why it did not start."""

    python: str
    versions: str
    installed: str
    outcome: str


def main() -> int:
    options = _parse()
    rows = []
    for python in options.pythons:
        for versions in options.versions:
            row = _try(python, versions, options)
            rows.append(row)
            print(f"--- Python {row.python}, {row.versions}: {row.outcome}", flush=True)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    ran = [row.outcome for row in rows if not row.outcome.startswith("skipped")]
    return 2 if not ran else int(any(outcome.startswith("failed") for outcome in ran))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", nargs="+", default=["3.11", "3.12", "3.13"])
    parser.add_argument("--versions", nargs="+", choices=_RESOLUTIONS, default=list(_RESOLUTIONS))
    parser.add_argument("--extras", nargs="*", default=["onnx", "tensorboard", "torch"])
    parser.add_argument("--workers", default="auto", help="of pytest-xdist")
    parser.add_argument("--tests", default="", help="paths and options for pytest, instead of the whole suite")
    return parser.parse_args()


def _try(python: str, versions: str, options: argparse.Namespace) -> Row:
    interpreter = _interpreter(python)
    if interpreter is None:
        return Row(python, versions, "", f"skipped: there is no Python {python} here")
    environment = _FOLDER / f"{python}-{versions}"
    if failure := _install(environment, interpreter, _RESOLUTIONS[versions], options.extras):
        return Row(python, versions, "", f"skipped: cannot be installed: {failure}")
    return Row(python, versions, _installed(environment), _test(environment, options))


def _interpreter(python: str) -> str | None:
    """pythonX.Y on PATH, or among pyenv's; a name on PATH need not run (pyenv's shims)."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{python}"), *sorted(map(str, pyenv.glob(f"{python}.*/bin/python3")), reverse=True)]
    return next((name for name in found if name and _run(name, "--version").returncode == 0), None)


def _install(environment: Path, interpreter: str, resolution: str, extras: list[str]) -> str:
    """Makes or refreshes the environment. Returns why it cannot be made, or nothing."""
    uv = _uv()
    project = f".[{','.join(extras)}]" if extras else "."
    into = ("pip", "install", "--quiet", "--python", str(environment))
    for arguments in (
        ("venv", "--quiet", "--clear", "--python", interpreter, str(environment)),
        # --no-config: pyproject.toml's [tool.uv] holds what development pins, not what users are promised
        (*into, "--no-config", "--resolution", resolution, "--editable", project),
        (*into, "--no-config", *_TOOLS),
    ):
        done = _run(uv, *arguments)
        if done.returncode:
            return " ".join(done.stderr.split())[:400] or f"uv ended with {done.returncode}"
    return ""


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else "uv"


def _installed(environment: Path) -> str:
    listed = _run(_uv(), "pip", "freeze", "--python", str(environment)).stdout
    versions = dict(re.findall(r"^([\w-]+)==(.+)$", listed, re.MULTILINE))
    return ", ".join(f"{name} {versions[name]}" for name in _SHOWN if name in versions)


def _test(environment: Path, options: argparse.Namespace) -> str:
    """Runs the suite as `make test` does; its output goes to a file beside the environment."""
    log = environment.with_name(f"{environment.name}.log")
    without_torch = "torch" not in options.extras
    chosen = "not slow and not torch" if without_torch else "not slow"
    tests = shlex.split(options.tests) or (_WITHOUT_TORCH if without_torch else [])
    command = [str(environment / "bin/python"), "-m", "pytest", "-m", chosen, "-rs", *tests]
    if options.workers != "0":
        command += ["-n", options.workers, "--dist", "loadfile"]
    with tempfile.TemporaryDirectory() as cache, log.open("w") as output:
        kept = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        variables = os.environ | kept | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=_ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT)
    lines = log.read_text().strip().splitlines()
    summary = lines[-1].strip("= ") if lines else "no output"
    if done.returncode:
        return f"failed: {summary}; see {log.relative_to(_ROOT)}"
    return f"{summary}; nothing that needs PyTorch" if without_torch else summary


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
