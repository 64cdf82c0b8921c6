"""The readers of data and runs under atheris: input that reaches new lines is kept and changed further.

Each reader has a process of its own for JAXNN_FUZZ_SECONDS (30). ``pip install 'jaxnn[fuzz]'`` brings atheris; in an
empty folder ``python coverage_guided_test.py MODULE READER SECONDS`` runs one.
"""

import importlib
import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("JAXNN_FUZZ_SECONDS", "30"))
STARTING = 240  # seconds for imports and, on a busy machine, the last case
INSTRUMENTED = ["jaxnn.data", "jaxnn.recipe", "jaxnn.run_dir", "jaxnn.report"]
_SEEDS, _LENGTH = 32, 1024  # bytes
FOUND = 77  # libFuzzer's exit code for an exception
MODULES = {"data_test": ("IDX", "CIFAR", "picture", "tar", "CSV", "kept arrays", "ArrayRecord", "TFDS"),
           "run_test": ("recipe", "metrics", "environment", "record of the data")}  # fmt: skip
READERS = [(module, name) for module, names in MODULES.items() for name in names]

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install 'jaxnn[fuzz]'"
)


def fuzz(module: str, name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        readers = planted() if module == "planted" else importlib.import_module(f"jaxnn.fuzz.{module}").READERS
        from jaxnn.fuzz.guard import property_of
    check: Any = property_of(readers[name], Path.cwd(), examples=1000)
    (corpus := Path("corpus")).mkdir()
    for number in range(_SEEDS):  # Hypothesis makes next to nothing of a few bytes
        (corpus / str(number)).write_bytes(random.Random(number).randbytes(_LENGTH))
    options = {"max_total_time": seconds, "max_len": 4 * _LENGTH, "rss_limit_mb": 0, "use_value_profile": 1}
    flags = [f"-{option}={value}" for option, value in (options | {"len_control": 0, "print_final_stats": 1}).items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], check.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def planted() -> dict[str, Any]:
    """A reader that fails for one start in 16,384, of which each right byte reaches a line."""
    from hypothesis import strategies as st

    from jaxnn.fuzz.guard import Reader

    atheris: Any = importlib.import_module("atheris")
    return {"magic": Reader(st.binary(max_size=12), atheris.instrument_func(_read_magic), "")}


def _read_magic(data: bytes, folder: Path) -> None:
    if len(data) > 2 and data[0] == 0x89:
        if data[1] >> 4 == 5:
            if data[2] >> 6 == 3:
                raise KeyError("planted")


def _run(module: str, name: str, folder: Path, seconds: int) -> tuple[int, str]:
    """The exit code of a process that fuzzes for ``seconds``, and what it said."""
    (folder / "no-folder").touch()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAXNN_CACHE_DIR": str(folder / "no-folder"),
        "JAX_PLATFORMS": "cpu",
    }
    ended = subprocess.run(
        [sys.executable, __file__, module, name, str(seconds)], cwd=folder, env=environment, text=True,
        errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + STARTING,
    )  # fmt: skip
    return ended.returncode, ended.stdout


@needs_atheris
@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), READERS)
def test_no_line_that_can_be_reached_fails(module: str, name: str, tmp_path: Path) -> None:
    code, said = _run(module, name, tmp_path, SECONDS)
    assert code == 0, said[-4000:]
    executions = re.search(r"number_of_executed_units: (\d+)", said)
    assert executions and int(executions[1]) > 2 * _SEEDS, said[-4000:]


@needs_atheris
@pytest.mark.slow
def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    code, said = _run("planted", "magic", tmp_path, 120)
    assert code == FOUND and "KeyError: 'planted'" in said, said[-4000:]


def test_every_reader_has_its_turn() -> None:
    named = {module: importlib.import_module(f"jaxnn.fuzz.{module}").READERS for module in MODULES}
    assert {module: tuple(readers) for module, readers in named.items()} == MODULES


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2], int(sys.argv[3]))
