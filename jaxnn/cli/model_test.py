"""`jaxnn model`: what it prints, from what it knows of the data, and what it refuses."""

import json
from pathlib import Path

import pytest

from jaxnn import data
from jaxnn.cli import main
from jaxnn.data import load_for
from jaxnn.data.blank import stand_in
from jaxnn.environment import describe
from jaxnn.recipes import get
from jaxnn.run_dir import RunDir

LENET = """\
LeNet(
  (conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))
  (conv2): Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))
  (fc1): Linear(in_features=400, out_features=120, bias=True)
  (fc2): Linear(in_features=120, out_features=84, bias=True)
  (fc3): Linear(in_features=84, out_features=10, bias=True)
)

layer, tensor     output, shape   values
input             (N, 1, 32, 32)
conv1: Conv2d     (N, 6, 28, 28)
  conv1.weight    (6, 1, 5, 5)       150 frozen
  conv1.bias      (6,)                 6 frozen
pool: MaxPool2d   (N, 6, 14, 14)
conv2: Conv2d     (N, 16, 10, 10)
  conv2.weight    (16, 6, 5, 5)    2,400 frozen
  conv2.bias      (16,)               16 frozen
pool: MaxPool2d   (N, 16, 5, 5)
flatten: Flatten  (N, 400)
fc1: Linear       (N, 120)
  fc1.weight      (120, 400)      48,000 frozen
  fc1.bias        (120,)             120 frozen
fc2: Linear       (N, 84)
  fc2.weight      (84, 120)       10,080 frozen
  fc2.bias        (84,)               84 frozen
fc3: Linear       (N, 10)
  fc3.weight      (10, 84)           840
  fc3.bias        (10,)               10

lenet on mnist: 61,706 parameters, 850 of them trained (fc3)
493,648 bytes in float64
"""

MISTAKES = {
    "nothing named": ([], "name a recipe or a run"),
    "unknown recipe": (["lenett"], "did you mean 'lenet'?"),
    "no such run": (["runs/none"], "is not a run directory"),
    "a folder without a run": (["."], "is not a run directory"),
    "a table without data": (["csv"], "--dataset FILE"),
    "unknown data set": (["lenet", "--dataset", "mnst"], "did you mean 'mnist'?"),
    "a table of no size": (["tabular-mlp", "--dataset", "uniform-0x3"], "uniform-ROWSxFEATURES"),
    "no such data folder": (["lenet", "--data-dir", "nowhere"], "--data-dir nowhere is not a folder"),
    "data folder without the set": (["lenet", "--data-dir", "."], "does not hold MNIST"),
    "table for images": (["lenet", "--dataset", "iris"], "iris is a table"),
    "images for a table": (["csv", "--dataset", "digits"], "digits holds images"),
    "too small": (["lenet", "--image-size", "8"], "too small for model lenet"),
    "image size of a table": (["breast-cancer", "--image-size", "8"], "takes a table"),
    "image size twice": (["lenet", "--image-size", "32", "--input.size", "32"], "leave one of the two out"),
    "no width": (["lenet", "--model.hidden", "0", "84"], "model.hidden must be"),
    "unknown option": (["lenet", "--model.kernel", "3"], "--model.kernel-size"),
    "binary loss": (["csv", "--dataset", "iris", "--loss.name", "bce"], "is for two classes"),
    "renaming": (["lenet", "--name", "mine"], "--name cannot be changed"),
    "one word too many": (["lenet", "more"], "more"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, says = MISTAKES[name]
    assert main(["model", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and says in err


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("data are read")

    monkeypatch.setattr("jaxnn.data.blank.load_for", refused)


@pytest.mark.usefixtures("no_data")
def test_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What the document prints of its LeNet, and what a reader may want to know beside it."""
    assert main(["model", "lenet", "--freeze-backbone", "--precision", "float64"]) == 0
    assert capsys.readouterr().out == LENET


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("name", ["fashion-mlp-bn", "resnet50"])
def test_the_table_has_80_columns_and_needs_no_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", name]) == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.partition("\n\n")[2].splitlines())) <= 80
    assert bool(err) == (get(name).dataset is None)


@pytest.mark.parametrize(
    ("recipe", "dataset"),
    [("mnist-mlp", "digits"), ("csv", "iris"), ("breast-cancer", None), ("tabular-mlp", None), ("lenet", "digits")],
)
def test_what_is_known_of_data_is_true(recipe: str, dataset: str | None) -> None:
    wanted = get(recipe, dataset=dataset)
    known, read = stand_in(wanted), load_for(wanted)
    assert (known.name, known.input_shape, len(known.classes)) == (read.name, read.input_shape, len(read.classes))


def test_a_run_needs_neither_its_data_nor_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,c\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(30)))
    recipe = get("csv", dataset=str(table)).replace(**{"model.hidden": (5, 4)})
    assert main(["model", "csv", "--dataset", str(table), "--model.hidden", "5", "4", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert expected["input_shape"] == [2] and expected["parameters"] == 15 + 24 + 10
    run = RunDir(tmp_path / "run")
    run.create(recipe, "torch")
    run.write_environment(describe(data.load_for(recipe)))
    table.unlink()
    assert main(["model", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == expected
    assert main(["model", str(run.path), "--epochs", "3"]) == 2
    run.environment_file.unlink()
    assert main(["model", str(run.path)]) == 2
    assert "does not say what the run was trained on" in capsys.readouterr().err
