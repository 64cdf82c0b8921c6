"""``jaxnn parity`` as users and programs meet it, and the fixture for their tests: exit codes, files, sentences."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxnn.cli import main
from jaxnn.parity.recording import Recording

pytest.importorskip("torch")

OWN = """
import jax, numpy as np, optax, torch
from flax import nnx
from jaxnn.nn import Linear

class Port(nnx.Module):
    def __init__(self, rngs):
        self.first = Linear(5, 4, rngs=rngs)
        self.second = Linear(4, 3, rngs=rngs)
    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))

class Faulty(Port):
    def __call__(self, x):
        return self.second(nnx.gelu(self.first(x)))

class Original(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)
    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

def broken():
    raise RuntimeError("no such thing")

random = np.random.default_rng(0)
batch = (random.normal(size=(6, 5)), random.integers(0, 3, size=6))
sgd = lambda: optax.sgd(0.1)
"""
PORT = ["--torch", "own:Original", "--batch", "own:batch"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("own", None)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


@pytest.mark.parametrize(
    ("port", "code", "cause"), [("own:Port", 0, None), ("own:Faulty", 1, "activation")], ids=["right", "faulty"]
)
def test_an_own_port(here: Path, capsys: pytest.CaptureFixture[str], port: str, code: int, cause: str | None) -> None:
    training = ["--optimizer", "sgd(lr=0.1)", "--jax-optimizer", "own:sgd", "--steps", "3"]
    assert main(["parity", *PORT, "--jax", port, *training, "--json", "--out", "report"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0)
    assert [diagnosis["cause"] for diagnosis in found["diagnoses"]] == ([cause] if cause else [])
    assert json.loads((here / "report" / "report.json").read_text())["ok"] == found["ok"]
    assert "</html>" in (here / "report" / "report.html").read_text()


def test_a_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "csv", "--steps", "3", "--level", "forward", "trajectory", "state"]) == 0
    captured = capsys.readouterr()
    assert "PASSED  csv on iris" in captured.out
    assert "gradients" not in captured.out
    certificate = json.loads((here / "parity" / "certificate.json").read_text())
    assert [row["level"] for row in certificate["reports"][0]["levels"]] == ["forward", "trajectory", "state"]
    assert certificate["ok"] and certificate["about"]["torch"]["versions"]["torch"]
    assert (here / "parity" / "certificate.html").is_file()


MISTAKES = {
    "nothing named": ([], "name a recipe"),
    "two things named": (["csv", *PORT], "name a recipe, or"),
    "an unknown recipe": (["mnist-mpl"], "did you mean 'mnist-mlp'?"),
    "half a port": (PORT, "needs all of"),
    "no module": ([*PORT, "--jax", "owm:Port"], "module 'owm' cannot be imported"),
    "no such name": ([*PORT, "--jax", "own:Prt"], "has no 'Prt'"),
    "no name": ([*PORT, "--jax", "own"], "must be MODULE:NAME"),
    "a function that fails": ([*PORT, "--jax", "own:broken"], "RuntimeError: no such thing"),
    "a port that is none": ([*PORT, "--jax", "own:batch"], "is a tuple"),
    "an optimizer that is code": ([*PORT, "--jax", "own:Port", "--optimizer", "sgd(lr=open('x'))"], "must be a name"),
    "one dump": (["--left", "a"], "both --left and --right"),
    "no dumps": (["--left", "a", "--right", "b"], "a is not a dump"),
    "negative steps": (["csv", "--steps", "-1"], "at least 0"),
    "a file for a folder": (["csv", "--out", "own.py"], "is a file"),
    "the state of a port": ([*PORT, "--jax", "own:Port", "--level", "state"], "--level state is for recipes"),
    "an unknown level": (["csv", "--level", "backward"], "--level"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv, expected = MISTAKES[name]
    assert main(["parity", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert {path.name for path in here.iterdir()} <= {"own.py", "__pycache__"}


def test_dumps_are_compared_without_either_framework(tmp_path: Path) -> None:
    from jaxnn.parity import dump

    arrays = {"inputs": np.ones((2, 3)), "targets": np.ones(2), "weight/a": np.ones(3), "outputs": np.ones(2)}
    for name, value in (("left", 1.0), ("right", 1.0 + 1e-9)):
        recording = Recording(
            framework="torch",
            precision="float64",
            train=True,
            layers=(),
            arrays=arrays | {"outputs": np.full(2, value)},
        )
        dump.write(tmp_path / name, recording, ())
    program = (
        "import sys; from jaxnn.cli import main; "
        "code = main(['parity', '--left', 'left', '--right', 'right']); "
        "sys.exit(code if not {'jax', 'torch', 'flax'} & set(sys.modules) else 3)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert "First divergence: level forward" in ran.stdout


TEST = """
from flax import nnx
import own

def test_right(parity):
    assert parity(own.Original(), own.Port(nnx.Rngs(0)), own.batch, loss="cross_entropy").ok

def test_faulty(parity):
    parity(own.Original(), own.Faulty(nnx.Rngs(0)), own.batch, loss="cross_entropy")
"""


def test_the_fixture_fails_a_test_with_the_report(here: Path) -> None:
    (here / "port_test.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--parity-reports", "pages"]
    ran = subprocess.run([*command, "port_test.py"], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "1 failed, 1 passed" in ran.stdout
    assert "Likely cause: activation" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert [path.suffix for path in (here / "pages").iterdir()] == [".html"]
