"""The official CIFAR-10 archives: binary batches, and Python batches read without running their pickle."""

import io
import pickle  # nosec B403  # _Unpickler finds five harmless names, and refuses all others
import pickletools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn.data import aligned, tree
from jaxnn.data.dataset import Dataset, Split
from jaxnn.errors import UserError

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = ("test_batch",)
_BATCH = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?")
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_LONG = 256  # characters
_MOST_OPCODES = 2**18  # of a pickle: an official batch has some 50,000
_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 STRING SHORT_BINSTRING BINSTRING
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    """.split()
)


def holds_batches(path: Path) -> bool:
    """Whether a folder or tar holds official batches; of a tar it reads only as far as the first file that tells."""
    for entry in tree.entries(path):
        if entry.path.name.startswith(("batches.meta", "data_batch", "test_batch")):
            return True
        if entry.path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            return False
    return False


def read(path: Path, *, name: str, classes: tuple[str, ...]) -> Dataset:
    """The six batches in a folder or tar, in their order. Raises UserError that names a missing or damaged one."""
    batches: dict[str, bytes] = {}
    for entry in tree.entries(path):
        match = _BATCH.fullmatch(entry.path.name)
        if match and not entry.is_folder:
            batches[entry.path.name] = entry.read()
    ending = ".bin" if any(name.endswith(".bin") for name in batches) else ""
    for batch in _TRAIN + _TEST:
        if batch + ending not in batches:
            raise UserError(f"{path} lacks {batch}{ending}; all six batches of CIFAR-10 must be there")
    parse = _parse_binary if ending else _parse_python
    splits = [
        _join([parse(batches[batch + ending], f"{path}: {batch}{ending}", len(classes)) for batch in part])
        for part in (_TRAIN, _TEST)
    ]
    return Dataset(name=name, train=splits[0], test=splits[1], classes=classes, source=str(path))


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> Split:
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int32)
    channels, height, width = _SHAPE
    images = aligned.empty((len(labels), height, width, channels))
    start = 0
    for pixels, _ in parts:
        stop = start + len(pixels)
        images[start:stop] = pixels.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1)
        start = stop
    return Split(aligned.frozen(images), labels)


def _parse_binary(data: bytes, where: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Records of one byte of label and 3,072 of pixels."""
    if not data or len(data) % (1 + _PIXELS):
        raise UserError(f"{where} is cut short: {len(data)} bytes are not whole records of {1 + _PIXELS}; get it again")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], _checked(records[:, 0], where, classes)


def _parse_python(data: bytes, where: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A pickled {b"data": uint8 (N, 3072), b"labels": [...]}."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd texts in it
            _require_frugal(data)
            batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        _, shape, dtype, fortran, raw = batch[b"data"].state
        pixels = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")
        count = len(batch[b"labels"])
        if dtype.arguments[0] not in ("u1", b"u1") or pixels.shape != (count, _PIXELS) or count == 0:
            raise ValueError(f"not N rows of {_PIXELS} bytes and N labels")
        labels = np.fromiter(batch[b"labels"], np.int64, count)  # np.array would follow lists in lists
    except UserError as error:
        raise UserError(f"{where} {error}") from error
    except Exception as error:  # a damaged pickle fails in every way there is
        raise UserError(f"{where} is damaged ({error}); get it again") from error
    return pixels, _checked(labels, where, classes)


def _require_frugal(data: bytes) -> None:
    """Raises ValueError for a pickle that would take far more memory or time than its own bytes."""
    kept: dict[int, bool] = {}  # whether an object is to be had once alone
    once = False
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name not in _OPCODES or count >= _MOST_OPCODES:
            raise ValueError(f"a pickle of images has no {name}, or not so many")
        if name == "MEMOIZE":
            kept[len(kept)] = once
        elif name.endswith("PUT"):
            if not 0 <= argument <= count:  # the table of what is kept grows to twice that
                raise ValueError(f"it keeps object {argument} of {count}")
            kept[argument] = once
        elif name.endswith("GET") and kept.get(argument):
            raise ValueError("it uses a tuple or a long text twice")  # 2**N tuples to hash, N texts to encode
        elif name not in ("PROTO", "FRAME"):
            once = name.startswith("TUPLE") or (isinstance(argument, str | bytes) and len(argument) > _LONG)


def _checked(labels: np.ndarray, where: str, classes: int) -> np.ndarray:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise UserError(
            f"{where}: label {labels[wrong[0]]} of example {wrong[0]} is outside the classes 0 to {classes - 1}; "
            "the file is damaged or of another data set"
        )
    return labels


class _Captured:
    """Stands for a NumPy array or dtype of the pickle: keeps what it was made of and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _encode(text: str, encoding: str) -> bytes:
    """What Python 3 writes for bytes in an old pickle protocol."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError("unexpected encoding")  # which may be lists in lists
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Captured,
    ("numpy._core.multiarray", "_reconstruct"): _Captured,
    ("numpy", "ndarray"): _Captured,
    ("numpy", "dtype"): _Captured,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that CIFAR's own batches use, and none that could run code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise UserError(
                f"asks to run {module_name}.{global_name}, so it is refused; get the official file"
            ) from None
