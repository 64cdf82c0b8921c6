"""The cache of compiled programs, as one command fills it and the next one uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxnn import compilation_cache


def _train(folder: Path, out: Path, **environment: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("JAX_") and name != "NPROC"}
    command = [sys.executable, "-m", "jaxnn", "train", "mnist-mlp", "--dataset", "digits", "--steps", "2"]
    subprocess.run([*command, "--out", str(out)], check=True, env=own | {"JAXNN_CACHE_DIR": str(folder)} | environment)


def _programs(folder: Path) -> set[Path]:
    return set(folder.glob("xla/1-threads/*-cache"))


def test_a_second_command_compiles_nothing_and_computes_the_same(tmp_path: Path) -> None:
    _train(tmp_path, tmp_path / "first")
    programs = _programs(tmp_path)
    assert any("many_steps" in program.name for program in programs)
    written = {program: program.stat().st_mtime_ns for program in programs}
    damaged = next(program for program in programs if "many_steps" in program.name)
    damaged.write_bytes(damaged.read_bytes()[:100])  # compiled anew
    _train(tmp_path, tmp_path / "second")
    assert _programs(tmp_path) == programs
    assert {p: p.stat().st_mtime_ns for p in programs if p != damaged} | {damaged: written[damaged]} == written
    losses = [(tmp_path / out / "metrics.jsonl").read_text().split('"seconds"')[0] for out in ("first", "second")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "why", ["off", *(pytest.param(why, marks=pytest.mark.slow) for why in ("elsewhere", "not a folder"))]
)
def test_the_user_has_the_last_word(why: str, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    environment = {
        "off": {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        "elsewhere": {"JAX_COMPILATION_CACHE_DIR": str(elsewhere)},
    }
    if why == "not a folder":
        folder.touch()
    _train(folder, tmp_path / "run", **environment.get(why, {}))
    assert not _programs(folder)
    assert elsewhere.exists() == (why == "elsewhere")


def test_the_oldest_programs_go_beyond_the_size(tmp_path: Path) -> None:
    folder = tmp_path / "xla"
    for age, name in enumerate(("2-threads/new", "1-threads/middle", "1-threads/old")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"program 10")
        os.utime(path, (1000 - age, 1000 - age))
    compilation_cache._prune(folder, 25)
    assert sorted(path.name for path in folder.glob("*/*")) == ["middle", "new"]
