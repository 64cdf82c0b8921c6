"""Files of weights: what is read, what is refused with which sentence, and that nothing in a file is executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import ml_dtypes
import numpy as np
import safetensors.numpy
import torch

from jaxnn.errors import UserError
from jaxnn.interop import weights

TENSORS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)}
EXPECTED = {key: (value.shape, value.dtype) for key, value in TENSORS.items()}


def _ignore(_: str) -> None:
    pass


def _torch(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(value) for key, value in tensors.items()}


class _Executed:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


READABLE: dict[str, Callable[[Path], None]] = {
    "w.pt": lambda path: torch.save(_torch(TENSORS), path),
    "legacy.pt": lambda path: torch.save(_torch(TENSORS), path, _use_new_zipfile_serialization=False),
    "transposed.pt": lambda path: torch.save(
        {k: v.mT.contiguous().mT if v.ndim == 2 else v for k, v in _torch(TENSORS).items()}, path
    ),
    "w.safetensors": lambda path: safetensors.numpy.save_file(TENSORS, path),
    "any.name": lambda path: safetensors.numpy.save_file(TENSORS, path),
    "inside.pt": lambda path: torch.save({"epoch": 3, "state_dict": _torch(TENSORS)}, path),
    "parallel.pt": lambda path: torch.save({f"module.{k}": v for k, v in _torch(TENSORS).items()}, path),
    "written.pt": lambda path: weights.write(path, TENSORS),
    "written.safetensors": lambda path: weights.write(path, {k: v.copy(order="F") for k, v in TENSORS.items()}),
}


@pytest.mark.parametrize("name", READABLE)
def test_every_form_of_the_same_tensors(name: str, tmp_path: Path) -> None:
    READABLE[name](tmp_path / name)
    found = weights.read(tmp_path / name, _ignore)
    assert set(found) == set(TENSORS)
    for key, value in TENSORS.items():
        np.testing.assert_array_equal(found[key], value)


def _cut(save: Callable[[Path], Any], path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-40])


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "a folder": (lambda path: path.mkdir(), "is not a file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("fc.weight = 1, 2, 3 and so on\n"), "neither .safetensors nor .pt"),
    "ONNX": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(30)), "is an ONNX model"),
    "cut .pt": (lambda path: _cut(READABLE["w.pt"], path), "damaged or truncated"),
    "cut .safetensors": (lambda path: _cut(READABLE["w.safetensors"], path), "damaged or truncated"),
    "a header of 2**62": (lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}" * 10), "damaged"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"fc.weight": _Executed()})), "(pickled|damaged)"),
    "a pickle in a .pt": (lambda path: torch.save({"fc.weight": _Executed()}, path), "pickled objects"),
    "a whole model": (lambda path: torch.save(torch.nn.Linear(2, 3), path), "pickled objects, which are not executed"),
    "a tensor": (lambda path: torch.save(torch.ones(3), path), "no state_dict"),
    "no tensors": (lambda path: torch.save({}, path), "holds nothing"),
    "numbers": (lambda path: torch.save({"fc.weight": 1.0}, path), "fc.weight hold no tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_state_dict_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    make, says = REFUSED[name]
    make(path)
    with pytest.raises(UserError, match=says) as refused:
        weights.read(path, _ignore)
    assert str(path) in str(refused.value)
    assert not Path("executed").exists()


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("given", "values", "notice"),
    [
        (np.float16, 1e-3, None),
        (ml_dtypes.bfloat16, 1e-3, None),
        (np.float32, 0.0, None),
        (np.float64, 1e-7, "float64, which is rounded"),
    ],
    ids=["float16", "bfloat16", "float32", "float64"],
)
def test_other_formats_are_widened_or_rounded(
    given: Any, values: float, notice: str | None, ending: str, tmp_path: Path
) -> None:
    exact = (np.random.default_rng(0).normal(size=(2, 3))).astype(given)
    path, kinds = tmp_path / f"w{ending}", {"bfloat16": torch.bfloat16}
    value = torch.tensor(exact.astype(np.float64)).to(kinds.get(exact.dtype.name) or getattr(torch, exact.dtype.name))
    if ending == ".pt":
        torch.save({"w": value}, path)
    else:
        import safetensors.torch

        safetensors.torch.save_file({"w": value}, path)
    said: list[str] = []
    read = weights.read(path, _ignore)
    [found] = weights.matched(read, {"w": ((2, 3), np.dtype(np.float32))}, where="w", notice=said.append).values()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    assert [notice in text for text in said] == [True] if notice else said == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fc.bias": TENSORS["fc.bias"]}, ["fc.weight is missing"]),
        (TENSORS | {"more": np.ones(1), "bn.bias": np.ones(1)}, ["more is too much", "bn.bias is too much"]),
        (TENSORS | {"fc.weight": np.ones((3, 2))}, ["fc.weight is 3x2 instead of 2x3"]),
        (TENSORS | {"fc.bias": np.ones(2, np.int64)}, ["fc.bias holds int64 instead of float32"]),
        ({"fc.weight": np.ones(3), "no": np.ones(1)}, ["fc.weight is 3", "fc.bias is missing", "no is too much"]),
    ],
)
def test_all_that_does_not_fit_is_listed(given: dict[str, np.ndarray], says: list[str]) -> None:
    with pytest.raises(UserError, match="does not fit the model") as refused:
        weights.matched(given, EXPECTED, where="w.pt", notice=_ignore)
    assert all(text in str(refused.value) for text in says), refused.value


def test_a_last_layer_for_other_classes_is_left_out() -> None:
    said: list[str] = []
    given = TENSORS | {"fc.weight": np.ones((7, 3), np.float32), "fc.bias": np.ones(7, np.float32)}
    assert weights.matched(given, EXPECTED, where="w.pt", notice=said.append, head="fc") == {}
    assert weights.matched({}, EXPECTED, where="w.pt", notice=said.append, head="fc") == {}
    assert said == ["w.pt: fc.weight, fc.bias are for other classes and start anew"]


def test_torchvision_s_cache_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="resnet18-.*pth"):
        weights.pretrained("resnet18")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").touch()
    assert weights.pretrained("resnet18") == folder / "resnet18-f37072fd.pth"
