"""Files of weights in .safetensors, and recordings of a comparison, given anything. (.pt: parity_tests.)"""

import hashlib
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st

from jaxnn import recipes
from jaxnn.errors import UserError
from jaxnn.fuzz.damage import any_bytes, any_json, changed, damaged
from jaxnn.fuzz.guard import Reader, guarded, hold_ten_thousand, property_of
from jaxnn.interop import import_run, weights
from jaxnn.parity import dump
from jaxnn.parity.recording import Layer, Op, Recording
from jaxnn.parity.verdict import compare_dumps

TENSORS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)}
EXPECTED = {key: (value.shape, value.dtype) for key, value in TENSORS.items()}
SAFETENSORS = safetensors.numpy.save(TENSORS, metadata={"format": "pt"})
HEADER = json.loads(SAFETENSORS[8 : 8 + int.from_bytes(SAFETENSORS[:8], "little")])
DTYPES = st.sampled_from(["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "U64", "C64", "F4", "F128"])


def _with_header(header: Any) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(32)


HEADERS = changed(HEADER) | changed(
    HEADER, st.lists(st.integers(0, 40) | st.sampled_from([2**62]), max_size=4) | DTYPES
)


def _read_weights(data: bytes, folder: Path) -> None:
    path = folder / "w.safetensors"
    path.write_bytes(data)
    arrays = weights.read(path, lambda text: None)
    weights.matched(arrays, EXPECTED, where=str(path), notice=lambda text: None)


def _arrays() -> dict[str, np.ndarray]:
    image, output = np.ones((2, 3), np.float64), np.ones((2, 2), np.float64)
    found = {"inputs": image, "targets": np.zeros(2, np.int64), "outputs": output, "loss": np.float64(1)}
    for key, value in TENSORS.items():
        found |= {f"{prefix}/{key}": value.astype(np.float64) for prefix in ("initial", "weight", "gradient")}
    return found | {"forward/fc/input": image, "forward/fc/output": output, "backward/fc": output, "mask/0": image > 0}


def _recording() -> dict[str, bytes]:
    """The files of a dump of one linear layer and a step of SGD."""
    folder = Path(tempfile.mkdtemp())
    layer = Layer(
        name="fc", kind="Linear", options={"in_features": 3}, before=(Op(name="flatten", options={"start_dim": 1}),)
    )
    recording = Recording(
        framework="torch", precision="float64", train=True, layers=(layer,), arrays=_arrays(), after=(Op(name="relu"),),
        loss="cross_entropy", optimizer={"name": "sgd", "lr": 0.1}, steps=1, environment={"torch": "2"},
    )  # fmt: skip
    step: dict[str, Any] = {"loss": np.float64(1)}
    for key, value in TENSORS.items():
        step |= {f"{prefix}/{key}": value.astype(np.float64) for prefix in ("gradient", "parameter")}
    dump.write(folder / "dump", recording, [step])
    files: dict[str, bytes] = {
        str(file.relative_to(folder / "dump")): file.read_bytes() for file in (folder / "dump").rglob("*.*")
    }
    shutil.rmtree(folder)
    return files


DUMP = _recording()
ARRAYS, STEP, INDEX = "arrays.safetensors", "steps/000001.safetensors", "dump.json"


@st.composite
def arrays_of_other_names_and_shapes(draw: st.DrawFn, data: bytes) -> bytes:
    arrays = dict(safetensors.numpy.load(data))
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(arrays)))
        match draw(st.sampled_from(["remove", "shape", "dtype", "rename", "values"])):
            case "remove" if len(arrays) > 1:
                del arrays[key]
            case "shape":
                arrays[key] = np.zeros(draw(st.lists(st.integers(0, 3), max_size=3)), arrays[key].dtype)
            case "dtype":
                kind = draw(st.sampled_from(["bool", "int8", "uint64", "float16", "float32"]))
                with np.errstate(all="ignore"):
                    arrays[key] = arrays[key].astype(kind)
            case "rename":
                arrays[draw(st.text(max_size=9)) + key] = arrays.pop(key)
            case "values":
                arrays[key] = np.full(arrays[key].shape, draw(st.sampled_from([np.nan, np.inf, 1e300])))
    return safetensors.numpy.save(arrays)


DUMP_CASES = st.one_of(
    st.tuples(st.just(INDEX), any_json(json.loads(DUMP[INDEX]))),
    *[
        st.tuples(st.just(name), damaged(DUMP[name]) | arrays_of_other_names_and_shapes(DUMP[name]))
        for name in (ARRAYS, STEP)
    ],
)


def _read_dump(case: tuple[str, bytes], folder: Path) -> None:
    name, data = case
    for side in ("left", "right"):
        (folder / side / "steps").mkdir(parents=True, exist_ok=True)
        for file, valid in DUMP.items():
            (folder / side / file).write_bytes(valid)
    right = folder / "right"
    (right / name).write_bytes(data)
    if name != INDEX:  # whoever forges a file, forges its checksum
        index = json.loads(DUMP[INDEX])
        index["files"][name] = hashlib.sha256(data).hexdigest()
        (right / INDEX).write_text(json.dumps(index))
    compare_dumps(folder / "left", right).table()
    compare_dumps(right, folder / "left").table()


READERS = {
    "safetensors": Reader(any_bytes(SAFETENSORS) | HEADERS.map(_with_header), _read_weights, "w.safetensors"),
    "dump": Reader(DUMP_CASES, _read_dump, "record"),
}


@pytest.mark.parametrize("name", READERS)
def test_anything_is_read_or_refused(name: str, tmp_path: Path) -> None:
    property_of(READERS[name], tmp_path, examples=200)()


def test_arrays_that_contradict_their_layers_are_refused(tmp_path: Path) -> None:
    arrays = safetensors.numpy.load(DUMP[ARRAYS]) | {"forward/fc/output": np.zeros((0, 0))}
    with pytest.raises(UserError, match=r"cannot be compared \(ZeroDivisionError"):
        _read_dump((ARRAYS, safetensors.numpy.save(arrays)), tmp_path)


def _tensors(kind: str, size: int, shapes: dict[str, list[int]]) -> bytes:
    header, at = {}, 0
    for name, shape in shapes.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at := at + size * math.prod(shape)]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


@pytest.mark.parametrize(("first", "last"), [([2, 2], []), ([2, 2], [2**40, 0]), ([0, 2**40], [2, 2])], ids=str)
def test_no_data_are_made_for_shapes_that_no_layer_has(first: list[int], last: list[int], tmp_path: Path) -> None:
    path, recipe = tmp_path / "w.safetensors", recipes.get("csv")
    path.write_bytes(_tensors("F32", 4, {"first.weight": first, f"{recipe.model.head}.weight": last}))
    given = import_run.Given(weights.read(path, lambda text: None), str(path))
    whole = {"output.weight": np.zeros((3, 8)), "linear1.bias": np.zeros(5), "linear1.weight": np.zeros((5, 7))}
    assert import_run._stand_in(given._replace(arrays=whole), recipe).input_shape == (7,)  # of any order
    with guarded(), pytest.raises(UserError, match=r"w.safetensors: .*weight has the shape .*, which no layer has"):
        import_run._stand_in(given, recipe)


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2"])
def test_a_dump_of_numbers_that_numpy_has_not_is_refused(kind: str, tmp_path: Path) -> None:
    data = _tensors(kind, 1, {"inputs": [2, 2], "targets": [2]})
    with pytest.raises(UserError, match="arrays.safetensors is damaged"):
        _read_dump((ARRAYS, data), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_cases(name: str, tmp_path: Path) -> None:
    hold_ten_thousand(READERS[name], tmp_path)
