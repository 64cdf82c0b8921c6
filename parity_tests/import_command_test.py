"""``jaxnn import``: a run made of weights, and what a user can get wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import torchref.models
from jaxnn import recipes
from jaxnn.cli import main
from jaxnn.interop import weights


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = torchref.models.build(recipes.get("mnist-mlp").model, input_shape=(28, 28, 1), outputs=10)
    torch.save({key: value.float() for key, value in model.state_dict().items()}, tmp_path / "mlp.pt")
    return tmp_path / "mlp.pt"


def test_imported_weights_are_evaluated_trained_on_and_exported_again(
    mlp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, again = tmp_path / "run", tmp_path / "again.safetensors"
    assert main(["import", str(mlp), "mnist-mlp", "--dataset", "digits", "--out", str(run)]) == 0
    assert main(["export", str(run), str(again)]) == 0
    found, expected = (weights.read(file, print) for file in (again, mlp))
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)["test_accuracy"]
    assert main(["train", "--resume", "--out", str(run), "--epochs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["test_accuracy"] > before + 0.3


def test_without_its_data_a_run_can_be_exported_but_not_trained(
    mlp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"linear1.weight": (13, 4), "linear1.bias": (13,), "linear2.weight": (8, 13), "linear2.bias": (8,)}
    table |= {"output.weight": (3, 8), "output.bias": (3,)}
    torch.save({key: torch.ones(shape) for key, shape in table.items()}, tmp_path / "table.pt")
    run = tmp_path / "run"
    assert main(["import", str(tmp_path / "table.pt"), "csv", "--out", str(run)]) == 0
    assert "can be exported but not trained on" in capsys.readouterr().err
    assert main(["export", str(run), str(tmp_path / "out.safetensors")]) == 0
    assert main(["train", "--resume", "--out", str(run)]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a file and a recipe"),
        (["FILE"], "name a file and a recipe"),
        (["FILE", "mnist-mpl", "--out", "RUN"], "did you mean 'mnist-mlp'"),
        (["FILE", "mnist-mlp"], "--out RUN"),
        (["nowhere.pt", "mnist-mlp", "--out", "RUN"], "nowhere.pt does not exist"),
        (["FILE", "lenet", "--dataset", "digits", "--out", "RUN"], "conv1.weight is missing"),
        (["FILE", "mnist-mlp", "--dataset", "digits", "--model.hidden", "64", "32", "--out", "RUN"], "fc2.weight is"),
        (["FILE", "mnist-mlp", "--dataset", "iris", "--out", "RUN"], "table"),
        (["FILE", "mnist-mlp", "--dataset", "digits", "--optimizer-state", "FILE", "--out", "RUN"], "no optimizer's"),
        (["FILE", "mnist-mlp", "--dataset", "digits", "--optimizer-state", "SGD", "--out", "RUN"], "betas is None"),
        (["FILE", "mnist-mlp", "--dataset", "digits", "--optimizer-state", "FEW", "--out", "RUN"], "of 1 parameters"),
        (["FILE", "mnist-mlp", "--dataset", "digits", "--step", "-1", "--out", "RUN"], "--step must be at least 0"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(
    arguments: list[str], says: str, mlp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shapes = [value.shape for value in weights.read(mlp, print).values()]
    for name, count in (("SGD", len(shapes)), ("FEW", 1)):
        parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes[:count]]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        torch.save(optimizer.state_dict(), tmp_path / name)
    places = {"FILE": str(mlp), "RUN": str(run), "SGD": str(tmp_path / "SGD"), "FEW": str(tmp_path / "FEW")}
    assert main(["import", *(places.get(argument, argument) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.out == ""
    assert captured.err.count("\n") == 1
    assert not run.exists()


def test_a_run_is_not_replaced_unless_asked(mlp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["import", str(mlp), "mnist-mlp", "--dataset", "digits", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
