"""Files of weights: a bare state_dict in .safetensors or in PyTorch's .pt, as NumPy arrays by PyTorch's names.

Nothing in a file is executed: .pt files are read with ``weights_only=True``, which knows tensors and containers alone.
Known to neither framework but for PyTorch's reader and writer of .pt, inside functions.
"""

import importlib.util
import io
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from jaxnn import limits
from jaxnn.errors import UserError, first_line
from jaxnn.files import expanded, write_atomically

Arrays = dict[str, np.ndarray]
Notice = Callable[[str], None]

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts keep a model's state_dict
_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_},
}
_LISTED = 20  # keys in an error message


def read(path: Path, notice: Notice) -> Arrays:
    """The state_dict in ``path``, of whatever ending; says through ``notice`` if it lay inside a larger dict.

    Raises UserError for a file that is missing, truncated, of another kind, or pickled with more than tensors.
    """
    return _tensors(_open(path), path, notice)


def read_pickled(path: Path) -> dict[str, Any]:
    """The dict of a .pt file, with PyTorch's tensors. Raises UserError as ``read`` does."""
    content = _open(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dict")
    return content


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a state_dict, whole or not at all; the ending decides the format. Raises UserError without PyTorch."""
    if path.suffix == ".safetensors":
        contiguous = {key: np.ascontiguousarray(value).reshape(value.shape) for key, value in arrays.items()}
        write_atomically(path, safetensors.numpy.save(contiguous, metadata={"format": "pt"}))
        return
    require_torch(path)
    import torch

    write_pickled(path, {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})


def write_pickled(path: Path, content: dict[str, Any]) -> None:
    """torch.save, whole or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def require_torch(path: Path) -> None:
    """Raises UserError if PyTorch, which reads and writes .pt, is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            f"{path} needs PyTorch, which is not installed: pip install 'jaxnn[torch]', or use .safetensors"
        )


def matched(
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    *,
    where: str,
    notice: Notice,
    head: str | None = None,
) -> Arrays:
    """``arrays`` in the dtypes of ``expected`` (key -> shape, dtype).

    Floating-point numbers of fewer bits are widened exactly, of more rounded to the nearest, which ``notice`` says.
    Tensors of the layer ``head`` that do not fit are left out. ``num_batches_tracked``, which old files lack, is 0.
    Raises UserError that lists all that is missing, too much or of another shape or kind.
    """
    spare = {} if head is None else {key for key in expected if key.rpartition(".")[0] == head}
    wrong = []
    for key, (shape, dtype) in expected.items():
        if key not in arrays:
            if not (key in spare or key.endswith("num_batches_tracked")):
                wrong.append(f"{key} is missing")
        elif arrays[key].shape != shape:
            if key not in spare:
                wrong.append(f"{key} is {_dims(arrays[key].shape)} instead of {_dims(shape)}")
        elif _is_float(arrays[key].dtype) != _is_float(dtype):
            wrong.append(f"{key} holds {arrays[key].dtype} instead of {dtype}")
    wrong += [f"{key} is too much" for key in arrays if key not in expected and key not in spare]
    if wrong:
        more = f"; and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise UserError(f"{where} does not fit the model: {'; '.join(wrong[:_LISTED])}{more}; nothing is changed")
    fitting = {key: value for key, value in arrays.items() if value.shape == expected[key][0]}
    left_out = [key for key in arrays if key not in fitting]
    if left_out:
        notice(f"{where}: {', '.join(left_out)} are for other classes and start anew")
    rounded = {str(v.dtype) for k, v in fitting.items() if _is_float(v.dtype) and v.itemsize > expected[k][1].itemsize}
    if rounded:
        notice(f"{where} holds {', '.join(sorted(rounded))}, which is rounded to the run's precision")
    counts = {key: np.zeros(*expected[key]) for key in expected if key.endswith("num_batches_tracked")}
    return counts | {key: value.astype(expected[key][1]) for key, value in fitting.items()}


def pretrained(recipe_name: str) -> Path:
    """torchvision's file for a recipe, where it keeps what it fetches. Raises UserError if none is there."""
    home = Path(os.environ.get("TORCH_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"))
    folder = expanded(home) / "hub" / "checkpoints"
    found = sorted(folder.glob(f"{recipe_name}-*.pth"))
    if not found:
        raise UserError(
            f"--weights pretrained: there is no {folder / f'{recipe_name}-*.pth'}; have torchvision fetch it, "
            f"torchvision.models.{recipe_name}(weights='DEFAULT'), or name a file"
        )
    return found[0]


def _open(path: Path) -> Any:
    """What a file holds: a dict of arrays (.safetensors), or what PyTorch has pickled."""
    if not path.is_file():
        raise UserError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise UserError(f"{path} is empty; it should hold a state_dict")
    if start[8:9] == b"{" and not start.startswith(b"PK"):
        return _safetensors(path)
    if not start.startswith((b"PK", b"\x80")):
        kind = "an ONNX model" if path.suffix == ".onnx" or start[:1] == b"\x08" else "neither .safetensors nor .pt"
        raise UserError(f"{path} is {kind}; weights are a state_dict, saved by torch.save or safetensors")
    require_torch(path)
    import torch

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                limits.require_stored(archive, path.stat().st_size)  # torch.save packs nothing
        with warnings.catch_warnings(action="ignore"):  # of unusual files, which are then read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in its reader
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise UserError(
                f"{path} holds pickled objects, which are not executed; save its state_dict instead: "
                "torch.save(model.state_dict(), FILE)"
            ) from error
        raise UserError(f"{path} is damaged or truncated: PyTorch cannot read it ({first_line(error)})") from error


def _safetensors(path: Path) -> Arrays:
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is a damaged or truncated .safetensors file ({first_line(error)})") from error
    strange = sorted({entry["dtype"] for _, entry in entries} - _DTYPES.keys())
    if strange:
        raise UserError(f"{path} holds numbers of format {', '.join(strange)}; save it in {', '.join(_DTYPES)}")
    return {
        key: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"]) for key, entry in entries
    }


def _tensors(content: Any, path: Path, notice: Notice) -> Arrays:
    inner = next(
        (name for name in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)), None
    )
    if inner is not None:
        notice(f"{path}: the state_dict is its entry {inner!r}")
        content = content[inner]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} holds {'nothing' if content == {} else 'no state_dict'}; save model.state_dict()")
    strange = [str(key) for key, value in content.items() if not (isinstance(key, str) and hasattr(value, "dtype"))]
    if strange:
        raise UserError(f"{path} is no state_dict: {', '.join(strange[:5])} hold no tensor; save model.state_dict()")
    most = limits.unpacked(path.stat().st_size)
    arrays = {}
    for key, value in content.items():
        try:
            arrays[key.removeprefix("module.")] = _as_numpy(value, most)  # DataParallel's prefix
        except Exception as error:  # sparse, quantized, without memory, of a type that NumPy does not have
            raise UserError(
                f"{path}: {key} is no plain tensor ({first_line(error)}); save model.state_dict() of dense tensors"
            ) from error
    return arrays


def _as_numpy(value: Any, most: int) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if value.numel() * value.element_size() > most:  # one number, repeated by a stride of 0
        raise ValueError(f"its {value.numel()} numbers are not in the file")
    value = value.detach().cpu()
    if str(value.dtype) == "torch.bfloat16":  # NumPy has none: widened without loss
        value = value.float()
    return value.contiguous().numpy()


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
