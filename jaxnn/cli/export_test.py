"""`jaxnn export` of every kind of network: the files, the check that guards them, and what a user can get wrong."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

import jax
import numpy as np
import onnx
from flax import nnx

from jaxnn import data, environment, models, recipes
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.cli import main
from jaxnn.interop import agreement, stablehlo
from jaxnn.interop import onnx as to_onnx
from jaxnn.nn import DropoutMask
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.torch_random import TorchGenerator


def write_run(path: Path, recipe: Recipe, *, missing: bool = False) -> Path:
    """A run as `train` leaves it, with random weights and running statistics. ``missing``: its data cannot be found."""
    dataset = data.prepare(data.load(recipe.dataset or ""), recipe.input)
    run = RunDir(path)
    run.create(recipe.replace(dataset="/nowhere.csv") if missing else recipe, "jax")
    run.write_environment(environment.describe(dataset))
    outputs = 1 if recipe.loss.binary else len(dataset.classes)
    model = models.build(recipe.model, input_shape=dataset.input_shape, outputs=outputs, rngs=TorchGenerator(0))
    _, params, _, buffers = nnx.split(model, nnx.Param, DropoutMask, ...)
    random = np.random.default_rng(0)
    buffers = jax.tree.map(lambda x: random.uniform(0.1, 0.5, x.shape).astype(x.dtype), nnx.to_pure_dict(buffers))
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(Saved(1, (np.zeros(()), nnx.to_pure_dict(params), buffers, {}), None, {}))
    return path


# Recipe, data set, changes to it, layout; operators of the graph that must be there, and how many transpositions may.
CASES: dict[str, tuple[str, str, dict[str, Any], str, dict[str, int]]] = {
    "dropout": ("mnist-mlp", "digits", {"model.dropout": 0.5}, "nchw", {"Gemm": 4}),
    "table, one output": (
        *("csv", "breast-cancer", {"loss.name": "bce_with_logits", "input.standardize": True}),
        *("nchw", {"Gemm": 3}),
    ),
    "batch normalization": ("fashion-mlp-bn", "digits", {}, "nchw", {"Gemm": 2}),
    "layers in sequence": ("fashion-mlp-512", "digits", {}, "nchw", {"Gemm": 3}),
    "convolutions": ("cifar-cnn", "digits", {}, "nchw", {"Conv": 2, "MaxPool": 2, "Transpose": 0}),
    "channels last": ("lenet-3x3", "digits", {}, "nhwc", {"Conv": 2, "MaxPool": 2, "Transpose": 1}),
    "residuals": (
        *("resnet18", "digits", {"input.size": 32, "model.layers": (1, 1, 1, 1)}),
        *("nchw", {"Conv": 12, "MaxPool": 1, "Transpose": 0}),
    ),
}


PAIRS = {"JAX - PyTorch", "JAX - ONNX Runtime", "PyTorch - ONNX Runtime"}


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
def test_onnx_of_every_network(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset, dataset, changes, layout, operators = CASES[name]
    recipe = recipes.get(preset, dataset=dataset).replace(**changes)
    run, file = write_run(tmp_path / "run", recipe), tmp_path / "model.onnx"
    assert main(["export", str(run), str(file), "--layout", layout, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["errors"]) == PAIRS and all(result["errors"].values())  # none: nothing came through the layers
    assert result["compared_on"].startswith("100 test ")
    model = onnx.load(file)
    found = Counter(node.op_type for node in model.graph.node)
    assert {operator: found[operator] for operator in operators} == operators
    assert {each.data_type for each in model.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    [entry], [answer] = model.graph.input, model.graph.output
    assert (entry.name, answer.name) == ("input", "output")
    batch, *shape = entry.type.tensor_type.shape.dim
    assert batch.dim_param and [each.dim_value for each in shape] == json.loads(_metadata(model)["input_shape"])
    assert tuple(json.loads(_metadata(model)["classes"])) == data.load(dataset).classes
    normalization = json.loads(_metadata(model)["normalization"])
    if len(shape) == 3:
        pixels = {"scale": 255, "mean": recipe.input.mean, "std": recipe.input.std}
        assert normalization == json.loads(json.dumps(pixels))
    else:  # what the file says makes the rows that it takes of those of the table
        rows = (data.load(dataset).test.inputs - normalization["mean"]) / normalization["std"]
        taken = data.prepare(data.load(dataset), recipe.input).test.inputs
        np.testing.assert_array_equal(rows.astype(np.float32), taken)


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {each.key: each.value for each in model.metadata_props}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ending"), [("vgg16", "onnx"), ("vgg16", "stablehlo"), ("resnet18", "onnx")])
def test_a_large_network(name: str, ending: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipes.get(name, dataset="digits").replace(**{"input.size": 32}))
    assert main(["export", str(run), str(tmp_path / f"model.{ending}")]) == 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", recipes.get("cifar-cnn", dataset="digits"))


def test_stablehlo_runs_without_the_code_of_the_model(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.stablehlo"
    assert main(["export", str(run), str(file)]) == 0
    code = (
        "import sys, jax.export, numpy\n"
        f"program = jax.export.deserialize(bytearray(open({str(file)!r}, 'rb').read()))\n"
        "shapes = [program.call(numpy.ones((n, 3, 32, 32), 'float32')).shape for n in (1, 7)]\n"
        "print(shapes, *program.platforms, {'jaxnn', 'flax'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.strip() == "[(1, 10), (7, 10)] cpu cuda tpu set()", result.stderr


@pytest.mark.parametrize(("module", "ending"), [(to_onnx, "onnx"), (stablehlo, "stablehlo")])
def test_a_file_that_computes_something_else_is_not_written(
    module: Any, ending: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """One weight in the file is off by 0.001."""
    convert = module.convert

    def faulty(trained: Any, layout: str) -> bytes:
        kernel = trained.model.conv1.kernel
        right = kernel[...]
        kernel[...] = right.at[0, 0, 0, 0].add(0.001)
        try:
            return convert(trained, layout)
        finally:
            kernel[...] = right

    monkeypatch.setattr(module, "convert", faulty)
    file = tmp_path / f"model.{ending}"
    assert main(["export", str(run), str(file)]) == 1
    assert "is not written: JAX - " in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_no_number_is_no_agreement() -> None:
    def spoiled(inputs: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(inputs)) == 1, np.nan, 1.0)[:, None]

    errors = agreement.compare({"one": lambda inputs: np.ones((len(inputs), 1)), "other": spoiled}, np.ones((3, 2)))
    assert not errors["one - other"] <= agreement.TOLERANCE


def test_another_precision_and_data_that_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipes.get("csv", dataset="iris").replace(precision="float64")
    run = write_run(tmp_path / "run", recipe, missing=True)
    assert main(["export", str(run), str(tmp_path / "model.onnx"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["compared_on"] == "100 random rows (seed 0)"
    assert "/nowhere.csv" in said.err and "trained in float64: the file is, and is checked, in float32" in said.err


@pytest.mark.torch
@pytest.mark.parametrize("layout", ["nchw", pytest.param("nhwc", marks=pytest.mark.slow)])
def test_a_run_of_pytorch(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = tmp_path / "run", tmp_path / "model.onnx"
    train = ["train", "cifar-cnn", "--dataset", "digits", "--framework", "torch", "--steps", "1", "--out", str(run)]
    assert main(train) == 0
    capsys.readouterr()
    assert main(["export", str(run), str(file), "--layout", layout, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["errors"]) == PAIRS
    [entry] = onnx.load(file).graph.input
    size = [each.dim_value for each in entry.type.tensor_type.shape.dim]
    assert size == ([0, 3, 32, 32] if layout == "nchw" else [0, 32, 32, 3])
    assert main(["export", str(run), str(tmp_path / "model.stablehlo")]) == 2
    assert "use .onnx" in capsys.readouterr().err


MISTAKES = {
    "no arguments": ([], "name a run and a file"),
    "no run": (["nowhere", "model.onnx"], "has no recipe.json"),
    "unknown ending": (["run", "model.h5"], "must be one of .onnx, .stablehlo"),
    "file there already": (["run", "there.onnx"], "add --overwrite"),
    "a folder": (["run", "folder.onnx"], "is a folder"),
    "no such folder": (["run", "none/model.onnx"], "none: No such file"),
    "a place that cannot be written": (["run", "/proc/model.onnx"], "cannot be written"),
    "data not where they are said to be": (["run", "model.onnx", "--data-dir", "none"], "none"),
    "no checkpoint": (["bare", "model.onnx"], "has no checkpoint yet"),
    "weights of another network": (["other", "model.onnx"], "is not of the model"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipes.get("mnist-mlp", dataset="digits")
    for folder in ("run", "bare", "other"):
        write_run(tmp_path / folder, recipe)
    for step in (tmp_path / "bare" / "checkpoints").iterdir():
        shutil.rmtree(step)
    RunDir(tmp_path / "run").write_recipe(recipe.replace(dataset="mnist"), "jax")
    RunDir(tmp_path / "other").write_recipe(recipe.replace(**{"model.hidden": (64, 32)}), "jax")
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    argv, expected = MISTAKES[name]
    assert main(["export", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("jaxnn: ") and said.err.count("\n") == 1
    assert expected in said.err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_an_old_file_is_replaced_with_leave(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("old")
    assert main(["export", str(run), str(file), "--overwrite"]) == 0
    onnx.checker.check_model(onnx.load(file))


def test_onnx_missing_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jax2onnx" else find(name))
    assert main(["export", str(run), str(tmp_path / "model.onnx")]) == 2
    assert "pip install 'jaxnn[onnx]'" in capsys.readouterr().err


def test_releases_that_do_not_fit_together_are_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def convert(*arguments: object, **options: object) -> None:
        raise AttributeError("module 'jax._src.core' has no attribute 'ClosedJaxpr'")

    monkeypatch.setattr("jax2onnx.to_onnx", convert)
    assert main(["export", str(run), str(tmp_path / "model.onnx")]) == 2
    said = capsys.readouterr().err
    assert "do not fit together (module 'jax._src.core' has no attribute 'ClosedJaxpr')" in said
    assert "pip install --upgrade jax2onnx 'jax<0.12'" in said and not (tmp_path / "model.onnx").exists()
