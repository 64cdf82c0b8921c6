"""Valid input, damaged: bytes as disks, networks and attackers damage them, and JSON with values nobody expects."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

_EXTREMES = (0, 1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
_KINDS = ("flip", "byte", "cut", "insert", "remove", "repeat", "number", "zeros")
_HEADER = 64  # bytes, where damage does most
_BLOCK = 600


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """One to four changes: bits, bytes and blocks, and whole header fields set to an extreme value."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        at = draw(st.integers(0, min(_HEADER, size)) | st.integers(0, size))
        match draw(st.sampled_from(_KINDS)):
            case "flip" if at < size:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
            case "remove":
                del data[at : at + draw(st.integers(1, _BLOCK))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, _BLOCK))]
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                value = draw(st.sampled_from(_EXTREMES)) % 2 ** (8 * width)
                data[at : at + width] = value.to_bytes(width, draw(st.sampled_from(("big", "little"))))
            case "zeros":
                data[at : at + draw(st.integers(1, _BLOCK))] = bytes(draw(st.integers(0, _BLOCK)))
    return bytes(data)


def any_bytes(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Mostly damaged forms of ``valid``."""
    choices = [damaged(data) for data in valid]
    return st.one_of(*choices, *choices, st.binary(max_size=200))


TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\n",
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "../..",
        "/etc/passwd",
        "<script>",
        "%s{}",
        "1e999",
        "-1",
        "é" * 300,
    ]
)
NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 1e308, 5e-324, float("inf"), float("nan")])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NUMBERS | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list | tuple) else ()
    return [path, *(inner for key in keys for inner in _paths(value[key], (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """A JSON document of which one to three values at any depth are replaced, removed or joined by others."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path: Any = draw(st.sampled_from([path for path in _paths(document) if path] or [("",)]))
        *above, last = path
        place: Any = document
        for key in above:
            place = place[key]
        match draw(st.sampled_from(("replace", "replace", "replace", "remove", "add"))):
            case "remove" if isinstance(place, dict | list) and place:
                del place[last]
            case "add" if isinstance(place, dict):
                place[draw(TEXTS)] = draw(values)
            case _ if isinstance(place, dict | list) and last != "":
                place[last] = draw(values)
    return document


def any_json(document: Any) -> st.SearchStrategy[bytes]:
    """Damaged as text, or a well-formed text of other values."""
    whole = json.dumps(document, indent=1).encode()
    formed = (changed(document) | VALUES).map(lambda value: json.dumps(value).encode())
    return st.one_of(formed, formed, damaged(whole), damaged(whole), st.binary(max_size=60))
