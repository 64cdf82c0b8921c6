"""PyTorch's .pt files, given anything: weights, the state of a training, and checkpoints."""

import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from jaxnn import data, recipes
from jaxnn.data import Dataset
from jaxnn.errors import NonFiniteLossError, UserError
from jaxnn.fuzz.damage import TEXTS, VALUES, any_bytes, changed
from jaxnn.fuzz.guard import Reader, guarded, hold_ten_thousand, property_of
from jaxnn.interop import export_run, import_run, weights
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from torchref import checkpoint
from torchref import loop as torch_loop
from torchref.evaluate import evaluate

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
EXPECTED = {"fc.weight": ((2, 3), np.dtype(np.float32)), "fc.bias": ((2,), np.dtype(np.float32))}


def _saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _strange_tensors() -> list[torch.Tensor]:
    found = [torch.ones(2, dtype=kind) for kind in (torch.bfloat16, torch.complex64, torch.float8_e4m3fn, torch.uint16)]
    found += [torch.ones(2, 3).to_sparse(), torch.ones(2, device="meta"), torch.ones(1).expand(2**40), torch.ones(0, 3)]
    return [*found, torch.nn.Parameter(torch.ones(2, 3))]


TENSORS = st.sampled_from(_strange_tensors())
CONTENTS = st.dictionaries(st.sampled_from([*WEIGHTS, "state_dict", "model"]) | TEXTS, TENSORS | VALUES, max_size=3)
WEIGHT_CASES = st.one_of(
    any_bytes(_saved(WEIGHTS), _saved(WEIGHTS, _use_new_zipfile_serialization=False)),
    changed(WEIGHTS, TENSORS | VALUES).map(_saved),
    (CONTENTS | VALUES | TENSORS).map(_saved),
)


def _read_weights(content: bytes, folder: Path) -> None:
    path = folder / "w.pt"
    path.write_bytes(content)
    arrays = weights.read(path, lambda text: None)
    weights.matched(arrays, EXPECTED, where=str(path), notice=lambda text: None)


@cache
def _training() -> tuple[Recipe, Dataset, dict[str, np.ndarray], dict[str, Any]]:
    """A recipe, its data, the weights of its model and a state of its optimizer after one step."""
    recipe = recipes.get("breast-cancer").replace(**{"schedule.name": "plateau"})
    dataset = data.prepare(data.load("breast-cancer"), recipe.input)
    sizes = [30, *recipe.model.hidden, 2]  # type: ignore[union-attr]
    model = torch.nn.Sequential(*[torch.nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False)])
    names = ("linear1", "linear2", "output")
    arrays = {
        f"{name}.{key}": value.detach().numpy().astype(np.float32)
        for name, layer in zip(names, model, strict=True)
        for key, value in layer.named_parameters()
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model(torch.ones(2, 30, dtype=next(model.parameters()).dtype)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    row = {"epoch": 1, "step": 91, "train_loss": 0.5, "test_class_accuracy": [0.5, 1.0]}
    position = {"step": 91, "epoch": 2, "step_in_epoch": 0, "seconds": 1.0, "rows": [row], "losses": [], "correct": []}
    position |= {"epoch_rng": torch.get_rng_state(), "rng": torch.get_rng_state()}
    return recipe, dataset, arrays, optimizer.state_dict() | {"scheduler": scheduler.state_dict(), "position": position}


def _read_training(content: Any, folder: Path) -> None:
    recipe, dataset, arrays, _ = _training()
    given = import_run.Given(arrays, "w.pt", content, "w.optimizer.pt", None)
    import_run.into_jax(given, recipe, dataset, RunDir(folder / "run"), lambda text: None)
    rows = RunDir(folder / "run").read_metrics()
    json.dumps(rows)


class _Enough(Exception):
    """The run has been taken up and has trained on."""


def _enough(row: dict[str, Any]) -> None:
    raise _Enough


@cache
def _checkpoint() -> dict[str, Any]:
    """Of a run of two epochs after the first."""
    recipe, dataset, _, _ = _training()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        torch_loop.train(recipe.replace(epochs=1), dataset, run)
        found = checkpoint.load(run, lambda text: None)
    assert found is not None
    return found


def _checkpoints() -> st.SearchStrategy[bytes]:
    saved = _checkpoint()
    parts = [
        changed(saved[name], TENSORS | VALUES).map(lambda part, name=name: saved | {name: part}) for name in _PARTS
    ]
    return st.one_of(
        *[case.map(_saved) for case in (changed(saved, TENSORS | VALUES), *parts)], any_bytes(_saved(saved))
    )


_PARTS = ("model", "optimizer", "scheduler", "rows")


def _read_checkpoint(content: bytes, folder: Path) -> None:
    recipe, dataset, _, _ = _training()
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = RunDir(folder / "run")
    run.create(recipe, "torch")
    (run.checkpoints / "step-00000091.pt").write_bytes(content)
    with contextlib.suppress(UserError):
        evaluate(recipe, dataset, run)
    export_run.weights_of(run, recipe, "torch", lambda text: None)
    with contextlib.suppress(_Enough, NonFiniteLossError):
        torch_loop.train(recipe.replace(epochs=2), dataset, run, resume=True, on_epoch=_enough)


READERS = {
    "checkpoint of PyTorch": Reader(st.deferred(_checkpoints), _read_checkpoint, "checkpoints"),
    ".pt": Reader(WEIGHT_CASES, _read_weights, "w.pt"),
    "state of a training": Reader(
        st.deferred(lambda: changed(_training()[3], TENSORS | VALUES)), _read_training, "w.optimizer.pt"
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_anything_is_read_or_refused(name: str, tmp_path: Path) -> None:
    property_of(READERS[name], tmp_path, examples=200 if name == ".pt" else 20)()


def _packed() -> bytes:
    """64 MiB of weights in 64 KiB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_saved({"fc.weight": torch.zeros(2**24)}))) as plain:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
    return stream.getvalue()


BOMBS = {
    "packed": (_packed, "its members are packed"),
    "one number, 2**29 times": (lambda: _saved({"fc.weight": torch.ones(1).expand(2**29)}), "are not in the file"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_small_stays_small(name: str, tmp_path: Path) -> None:
    make, says = BOMBS[name]
    content = make()
    with guarded(mebibytes=64), pytest.raises(UserError, match=says):
        _read_weights(content, tmp_path)


@pytest.mark.parametrize("part", ["model", "optimizer", "scheduler"])
def test_a_sparse_tensor_is_no_part_of_a_checkpoint(part: str, tmp_path: Path) -> None:
    """It has values() as a dict has, and torch 2.15 warns of reading it."""
    content = _saved(_checkpoint() | {part: torch.ones(2, 3).to_sparse()})
    with guarded(), pytest.raises(UserError, match="no checkpoint in .* can be read"):
        _read_checkpoint(content, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_cases(name: str, tmp_path: Path) -> None:
    hold_ten_thousand(READERS[name], tmp_path)
