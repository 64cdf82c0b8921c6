"""`jaxnn model` against PyTorch: print(net), state_dict() and the outputs of the layers, on the meta device."""

import json
import re
from typing import Any

import pytest
import torch

import torchref.models
from jaxnn.cli import main
from jaxnn.data.blank import stand_in
from jaxnn.recipes import PRESETS, get

# Options, and what of the recipe they change.
CASES: dict[str, tuple[list[str], dict[str, Any]]] = {name: ([], {}) for name in PRESETS if name != "csv"} | {
    "csv": (["--dataset", "iris"], {"dataset": "iris"}),
    "mnist-mlp of other sizes": (
        ["--model.hidden", "7", "5", "--model.dropout", "0.5", "--dataset", "digits"],
        {"model.hidden": (7, 5), "model.dropout": 0.5, "dataset": "digits"},
    ),
    "cifar-cnn frozen": (["--freeze-backbone"], {"freeze_backbone": True}),
    "lenet-3x3 on RGB": (
        ["--input.channels", "3", "--image-size", "20"],
        {"input.channels": 3, "input.size": 20, "input.fit": "resize"},
    ),
    "breast-cancer with one output": (["--loss.name", "bce"], {"loss.name": "bce"}),
}
PRINTED_BY_TORCHVISION = ("resnet", "vgg")  # see torchvision_test.py: torchref writes some of their layers as functions


@pytest.mark.parametrize("precision", ["float32"], indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_the_same_network(case: str, precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    options, changes = CASES[case]
    name = case.split()[0]
    assert main(["model", name, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    recipe = get(name).replace(**changes)
    data = stand_in(recipe)
    outputs = 1 if recipe.loss.binary else len(data.classes)
    with torch.device("meta"):
        model = torchref.models.build(recipe.model, input_shape=data.input_shape, outputs=outputs).eval()
        calls = recorded(model, torch.zeros(2, *found["input_shape"]))

    state = {key: (list(value.shape), str(value.dtype)) for key, value in model.state_dict().items()}
    assert {t["name"]: (t["shape"], f"torch.{t['dtype']}") for t in found["tensors"]} == state
    assert [t["name"] for t in found["tensors"]] == list(state)
    assert found["bytes"] == sum(value.nbytes for value in model.state_dict().values())
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert found["buffers"] == sum(b.numel() for b in model.buffers())
    head = f"{recipe.trained_layer}." if recipe.trained_layer else ""
    trained = {key: p for key, p in model.named_parameters() if key.startswith(head)}
    assert [t["name"] for t in found["tensors"] if t["trained"]] == list(trained)
    assert found["trained_parameters"] == sum(p.numel() for p in trained.values())

    modules = dict(model.named_modules())
    ours = [(c["name"], c["type"], c["output_shape"]) for c in found["layers"] if c["name"] in modules]
    assert ours == [call for call in calls if call[1] != "ReLU"]
    if not name.startswith(PRINTED_BY_TORCHVISION):
        assert found["architecture"] == plain(repr(model))


def recorded(model: torch.nn.Module, inputs: torch.Tensor) -> list[tuple[str, str, list[int]]]:
    """Name, class and one example's output of each layer, in the order of their calls."""
    calls = []
    for name, module in model.named_modules():
        if not list(module.children()):

            def record(module: Any, _: Any, y: torch.Tensor, name: str = name) -> None:
                calls.append((name, type(module).__name__, list(y.shape[1:])))

            module.register_forward_hook(record)
    model(inputs)
    return calls


def plain(printed: str) -> str:
    """What PyTorch prints, without what means nothing in JAX; before 2.12 BatchNorm's bias was not printed."""
    return re.sub(r"(affine=\w+, )(?!bias)", r"\1bias=True, ", printed.replace("ReLU(inplace=True)", "ReLU()"))
