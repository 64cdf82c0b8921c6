"""`jaxnn doctor` where the traps are real: variables, folders, versions, frameworks that cannot start."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jaxnn.cli import main
from jaxnn.doctor import facts


def _doctor(*arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a doctor who knows nothing of this process's own variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XLA", "NPROC", "OMP"))}
    command = [sys.executable, "-m", "jaxnn", "doctor", "--json", *arguments]
    done = subprocess.run(command, env=own | variables, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def test_variables_are_seen_where_they_act(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho Some GPU\n")
    smi.chmod(0o755)
    cache = str(tmp_path / "file" / "below")
    code, found = _doctor(
        JAX_ENABLE_X64="1",
        JAX_DEBUG_NANS="true",
        JAX_PLATFORMS="cpu",
        JAXNN_CACHE_DIR=cache,
        LOKY_MAX_CPU_COUNT="1",
        NPROC="64",
        OMP_NUM_THREADS="2",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        XLA_FLAGS="--xla_cpu_enable_fast_math=true",
    )
    expected = [
        "nvidia-smi shows Some GPU, but JAX_PLATFORMS=cpu",
        "JAX_ENABLE_X64 is on",
        "JAX_DEBUG_NANS is left on",
        "XLA_FLAGS holds --xla_cpu_enable_fast_math=true,",
        "XLA starts 64 threads on 1 core that",
        f"data cannot be kept in {cache},",
        f"compiled programs cannot be kept in {cache}/xla,",
    ]
    if found["torch"] and found["cores"]["machine"] > 1:
        expected.append("PyTorch starts 2 threads on 1 core that")
    assert code == 0
    assert [start for start in expected if not any(text.startswith(start) for text in found["warnings"])] == []
    assert found["problems"] == []
    assert not Path(cache).exists()


def test_a_framework_that_cannot_start_is_broken(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('no libtorch')")
    code, found = _doctor(
        JAX_PLATFORMS="nonsense", PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    )
    assert code == 1
    assert found["jax"] is None
    assert found["problems"][0].startswith("JAX cannot start: ") and "nonsense" in found["problems"][0]
    if "torch" in found["versions"]:
        assert found["torch"] is None
        assert found["problems"][1].startswith("PyTorch is installed, but cannot start")


def test_what_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Versions from the requirements themselves, without PyTorch; the folder of data is searched alone."""
    version = importlib.metadata.version

    def pretended(name: str) -> str:
        if name.startswith("torch"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.4.30" if name == "jax" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", pretended)
    monkeypatch.setattr(facts.platform, "python_version", lambda: "3.9.1")
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "jax 0.4.30" in shown
    assert (
        "warning: outside the versions that jaxnn is made for: Python 3.9.1 (<3.14,>=3.11), jax 0.4.30 (>=0.10.2"
        in shown
    )
    assert "warning: PyTorch is not installed" in shown
    assert f"--data-dir {tmp_path} does not hold MNIST" in shown
    count = shown.count("warning: ")
    assert count >= 2 and shown.endswith(f"{count} warnings")
