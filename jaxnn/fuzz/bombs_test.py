"""Small files that ask for much, and files that reach out: one sentence each, within seconds, in bounded memory."""

import gzip
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from jaxnn import recipes
from jaxnn.data import load, pictures
from jaxnn.data.named import NAMED
from jaxnn.errors import UserError
from jaxnn.fuzz.guard import guarded, require_sentence
from jaxnn.interop import weights
from jaxnn.parity import dump
from jaxnn.recipe import Input
from jaxnn.run_dir import RunDir

INPUT = Input(size=8, channels=3)
RECIPE = json.dumps({"framework": "jax"} | json.loads(recipes.get("lenet").to_json()))
Write = Callable[[Path], Any]


def _idx(*shape: int) -> bytes:
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape)


def _beside(file: str, data: bytes) -> Write:
    """``data`` as one of four IDX files, of which the others hold three images."""

    def write(path: Path) -> None:
        for part in ("train", "t10k"):
            (path / f"{part}-images-idx3-ubyte").write_bytes(_idx(3, 2, 2) + bytes(12))
            (path / f"{part}-labels-idx1-ubyte").write_bytes(_idx(3) + bytes(3))
        (path / file).write_bytes(data)

    return write


def _bomb(claimed: int) -> bytes:
    """10 GB in 10 MB: one packed block of zeros, again and again (members of one gzip file follow each other)."""
    return gzip.compress(_idx(claimed // 784, 28, 28)) + gzip.compress(bytes(2**24), 9) * (10 * 2**30 // 2**24)


def _tar(*members: tuple[str, dict[str, Any], bytes], mode: str = "w") -> Write:
    def write(path: Path) -> None:
        with tarfile.open(path / "pets.tar", mode) as tar:  # type: ignore[call-overload]
            for name, fields, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                for field, value in fields.items():
                    setattr(info, field, value)
                tar.addfile(info, io.BytesIO(data))

    return write


def _header_of_a_tar(kind: bytes, size: int, *, zeros: int = 0) -> Write:
    """A tar, gzipped, whose first header says that ``size`` bytes of a long name or of attributes follow."""

    def write(path: Path) -> None:
        info = tarfile.TarInfo("cat/1.png")
        info.type, info.size = kind, size
        (path / "pets.tar").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(zeros)))

    return write


def _batches(data: bytes) -> Write:
    """CIFAR-10's batches in Python's form, the first of them ``data``."""
    names = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    return _tar(*((name, {}, data if name == names[0] else b"") for name in names))


def _lists_in_lists() -> bytes:
    labels: list[Any] = [0] * 10
    for _ in range(9):
        labels = [labels] * 10
    return pickle.dumps({b"data": np.zeros((10, 3072), np.uint8), b"labels": labels}, protocol=2)


def _text_again_and_again() -> bytes:
    """1 MB of text is kept as 1, and encoded 4,000 times."""
    kept = b"c_codecs\nencode\nq\x00" + b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x01X\6\0\0\0latin1q\x02"
    return b"\x80\x02(" + kept + b"h\x00h\x01h\x02\x86R" * 4000 + b"l."


def _chained_names(path: Path) -> None:
    """900 headers, each of which says that a long name follows."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    (path / "pets.tar").write_bytes((info.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 900 + bytes(1024))


def _sparse_map(path: Path) -> None:
    """A file with holes, 64 MiB of whose bytes tell where these are."""
    info = tarfile.TarInfo("cat/1.png")
    info.size = 2**26
    info.pax_headers = {f"GNU.sparse.{name}": value for name, value in {"major": "1", "minor": "0"}.items()}
    (path / "pets.tar").write_bytes(
        gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + b"99999999\n" + b"9999\n" * (2**26 // 5), 1)
    )


def _folder(change: Callable[[Path], Any]) -> Write:
    """Two classes of five pictures, of which ``change`` is told the first."""

    def write(path: Path) -> None:
        for name in ("cat", "dog"):
            (path / "pets" / name).mkdir(parents=True)
            for number in range(5):
                (path / "pets" / name / f"{number}.png").write_bytes(PICTURE)
        change(path / "pets" / "cat")

    return write


def _many_in_a_tar(path: Path) -> None:
    """2 GiB of zeros in files that are no pictures."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = tarfile.TarInfo("cat/notes.txt")
        info.size = 2**25
        tar.addfile(info, io.BytesIO(bytes(2**25)))
    (path / "pets.tar").write_bytes(gzip.compress(plain.getvalue()[: 512 + 2**25], 9) * 64)


def _png(width: int, height: int, *extra: bytes) -> bytes:
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), *extra]
    chunks += [b"IDAT" + zlib.compress(bytes((3 * 8 + 1) * 8)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def _black(path: Path) -> None:
    """A true 50,000 x 50,000 picture of one colour, row by row packed."""
    packer, rows = zlib.compressobj(1), []
    for _ in range(50):
        rows.append(packer.compress(bytes(1000 * (50_000 // 8 + 1))))
    body = b"IDAT" + b"".join(rows) + packer.flush()
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body, b"IEND")]
    (path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def _animated(form: str) -> Write:
    def write(path: Path) -> None:
        frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 250, 5)]
        frames[0].save(path / "picture.png", form, save_all=True, append_images=frames[1:], icc_profile=bytes(10**6))

    return write


def _text(name: str, content: bytes) -> Write:
    return lambda path: (path / name).write_bytes(content)


def _run(name: str, content: bytes) -> Write:
    def write(path: Path) -> None:
        (path / "recipe.json").write_text(RECIPE)
        (path / name).write_bytes(content)

    return write


def _dump(**changes: Any) -> Write:
    index = {
        "format": 1,
        "framework": "jax",
        "precision": "float64",
        "train": True,
        "loss": "",
        "failure": "",
        "steps": 0,
    }
    index |= {"optimizer": {}, "environment": {}, "files": {}, "layers": [], "after": [], "notes": []}
    return _text("dump.json", json.dumps(index | changes).encode())


def _prepared(path: Path) -> None:
    folder = path / "mnist" / NAMED["mnist"].version
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_bytes(NESTED)


def _load_pets(path: Path) -> None:
    load(str(path / "pets.tar"), input=INPUT)


def _load_folder(path: Path) -> None:
    for limit in (None, 0):
        load(str(path / "pets"), input=INPUT, memory_limit=limit)


def _load_mnist(path: Path) -> None:
    load("mnist", data_dir=path)


def _load_table(path: Path) -> None:
    load(str(path / "a.csv"))


def _predict(path: Path) -> None:
    pictures.read([path / "picture.png"], INPUT, shape=(8, 8, 3), trained_on="mnist")


def _weights(path: Path) -> None:
    weights.read(next(path.glob("w.*")), lambda text: None)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
NESTED = b"[" * 100_000 + b"]" * 100_000
PICTURE = _png(8, 8)
LATIN = "\udce9"  # how Python writes the byte E9 of a file's name
TEXT = b"zTXtComment\0\0" + zlib.compress(bytes(2**28), 9)


class Bomb(NamedTuple):
    write: Write
    read: Callable[[Path], Any]
    says: str | None  # None: it is harmless, and read


BOMBS = {
    "IDX: 2**31 images": Bomb(_beside(IMAGES, _idx(2**31, 28, 28) + bytes(99)), _load_mnist, "is cut short"),
    "IDX: sizes whose product overflows": Bomb(
        _beside(IMAGES, _idx(2**32 - 1, 2**32 - 1, 2**32 - 1)), _load_mnist, "is cut short"),
    "IDX: a product that overflows to 0": Bomb(_beside(IMAGES, _idx(2**31, 2**31, 4)), _load_mnist, "is cut short"),
    "gzip: 10 GB in 10 MB, as promised": Bomb(_beside(IMAGES, _bomb(10 * 2**30)), _load_mnist, "its header claims"),
    "gzip: 10 GB in 10 MB, not promised": Bomb(_beside(IMAGES, _bomb(784)), _load_mnist, "but more follow"),
    "gzip: cut short": Bomb(_beside(LABELS, gzip.compress(_idx(3) + bytes(3))[:-9]), _load_mnist, "is a damaged .gz"),
    "tar: ../": Bomb(_tar(("../cat/1.png", {}, PICTURE)), _load_pets, "leads out of the archive"),
    "tar: an absolute name": Bomb(_tar(("/tmp/cat/1.png", {}, PICTURE)), _load_pets, "leads out of the archive"),
    "tar: a symbolic link": Bomb(_tar(("a", {"type": b"2", "linkname": "/etc"}, b"")), _load_pets, "is a link"),
    "tar: a hard link": Bomb(_tar(("a", {"type": b"1", "linkname": "/etc/passwd"}, b"")), _load_pets, "is a link"),
    "tar: a character device": Bomb(_tar(("a/1.png", {"type": b"3"}, b"")), _load_pets, "or a device"),
    "tar: a block device": Bomb(_tar(("a/1.png", {"type": b"4"}, b"")), _load_pets, "or a device"),
    "tar: a pipe": Bomb(_tar(("a/1.png", {"type": b"6"}, b"")), _load_pets, "or a device"),
    "tar: a huge file": Bomb(_header_of_a_tar(b"0", 2**40), _load_pets, "claims 1099511627776 bytes"),
    "tar: 2 GiB in 2 MB": Bomb(_many_in_a_tar, _load_pets, "unpacks to over"),
    "tar: a long name of 1 GiB": Bomb(_header_of_a_tar(b"L", 2**30, zeros=2**22), _load_pets, "a header in it claims"),
    "tar: attributes of 1 GiB": Bomb(_header_of_a_tar(b"x", 2**30, zeros=2**22), _load_pets, "a header in it claims"),
    "tar: attributes of -1 bytes": Bomb(_header_of_a_tar(b"x", -(2**40)), _load_pets, "pets.tar"),
    "tar: a negative size": Bomb(_header_of_a_tar(b"0", -512), _load_pets, "claims -512 bytes"),
    "tar: a sparse file": Bomb(_tar(("a/1.png", {"type": b"S"}, b"")), _load_pets, "pets.tar"),
    "pickle: object 2**28": Bomb(
        _batches(b"\x80\x02]r" + struct.pack("<I", 2**28) + b"."), _load_pets, "keeps object 268435456 of 2"),
    "pickle: 16 million lists": Bomb(_batches(b"\x80\x02" + b"]" * 2**24 + b"."), _load_pets, "not so many"),
    "pickle: 10**10 labels in lists in lists": Bomb(
        _batches(_lists_in_lists()), _load_pets, "not 'list'"),
    "pickle: a key of 2**60 tuples": Bomb(
        _batches(b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."), _load_pets, "a tuple or a long text twice"),
    "pickle: a text 4,000 times": Bomb(_batches(_text_again_and_again()), _load_pets, "a tuple or a long text twice"),
    "pickle: an escape that is none": Bomb(_batches(b"S'\\u'\n."), _load_pets, "is damaged"),
    "pickle: what copies the top of the stack": Bomb(_batches(b"\x80\x02)2."), _load_pets, "has no DUP"),
    "tar: 900 long names of one file": Bomb(_chained_names, _load_pets, "is no tar, or a damaged one"),
    "tar: a map of holes": Bomb(_sparse_map, _load_pets, "bytes of headers stand before a file"),
    "tar: a name that is not UTF-8": Bomb(
        _tar((f"caf{LATIN}/1.png", {}, PICTURE)), _load_pets, "has a name that is not UTF-8; rename it"),
    "folder: a class not UTF-8": Bomb(
        _folder(lambda cat: cat.rename(cat.with_name(f"caf{LATIN}"))), _load_folder, "a name that is not UTF-8"),
    "folder: not UTF-8": Bomb(
        _text(f"caf{LATIN}.csv", b"1,a\n1,b\n" * 9), lambda path: load(str(path / f"caf{LATIN}.csv")), "not UTF-8"),
    "folder: a pipe": Bomb(_folder(lambda cat: os.mkfifo(cat / "6.png")), _load_folder, "6.png is neither a file"),
    "folder: a link to a device": Bomb(
        _folder(lambda cat: (cat / "6.png").symlink_to("/dev/zero")), _load_folder, "6.png is neither a file"),
    "folder: a link to nothing": Bomb(
        _folder(lambda cat: (cat / "6.png").symlink_to("gone")), _load_folder, "6.png is neither a file"),
    "folder: a link to the other class": Bomb(
        _folder(lambda cat: (cat / "more").symlink_to("../dog")), _load_folder, None),
    "folder: a link to what is around it": Bomb(
        _folder(lambda cat: (cat / "up").symlink_to("..")), _load_folder, "cat/up is a link to a folder that it"),
    "a pipe": Bomb(
        lambda path: os.mkfifo(path / "pets"), _load_folder, "pets is no data set that is known here"),
    "a device as a picture": Bomb(
        lambda path: (path / "picture.png").symlink_to("/dev/zero"), _predict, "has over 268435456 bytes"),
    "PNG: claims 50,000 x 50,000": Bomb(_text("picture.png", _png(50_000, 50_000)), _predict, "has more than"),
    "PNG: holds 50,000 x 50,000": Bomb(_black, _predict, "has more than"),
    "PNG: claims 8,000 x 8,000": Bomb(_text("picture.png", _png(8_000, 8_000)), _predict, "is a broken image"),
    "PNG: a text of 256 MiB": Bomb(_text("picture.png", _png(8, 8, TEXT)), _predict, "is a broken image"),
    "PNG: a profile of 256 MiB": Bomb(_text("picture.png", _png(8, 8, b"iCCP" + TEXT[4:])), _predict, "is a broken"),
    "PNG: animated, with an odd profile": Bomb(_animated("PNG"), _predict, None),
    "WEBP: animated, with an odd profile": Bomb(_animated("WEBP"), _predict, None),
    "CSV: one line of 32 MB": Bomb(_text("a.csv", b"1" * 2**25), _load_table, "line 1: field larger than"),
    "CSV: one line of quotes": Bomb(_text("a.csv", b'"' * 2**22), _load_table, "a.csv, line 1"),
    "CSV: NUL bytes": Bomb(_text("a.csv", b"1,2\n" + bytes(2**20)), _load_table, "a.csv, line 2"),
    "CSV: a million columns": Bomb(_text("a.csv", b"1," * 10**6 + b"x\n" + b"2\n"), _load_table, "line 2 has 1 cells"),
    "CSV: a million names": Bomb(
        _text("a.csv", b"name," * 10**6 + b"x\n"),
        lambda path: load(str(path / "a.csv"), label="nane"), "has no column --label"),
    "CSV: a name of NUL bytes": Bomb(
        _text("a.csv", b"a" + bytes(900) + b",b\n" + b"1,x\n2,y\n"),
        lambda path: load(str(path / "a.csv"), label="nane"), "has no column --label"),
    "recipe.json: nested": Bomb(_run("recipe.json", NESTED), lambda path: RunDir(path).read_recipe(), "recipe.json"),
    "recipe.json: a huge number": Bomb(
        _run("recipe.json", RECIPE.replace('"epochs": 2', '"epochs": ' + "9" * 5000).encode()),
        lambda path: RunDir(path).read_recipe(), "recipe.json"),
    "recipe.json: NaN": Bomb(
        _run("recipe.json", RECIPE.replace('"learning_rate": 0.01', '"learning_rate": NaN').encode()),
        lambda path: RunDir(path).read_recipe(), "recipe.json"),
    "metrics.jsonl: nested": Bomb(
        _run("metrics.jsonl", NESTED + b"\n"), lambda path: RunDir(path).read_metrics(), "line 1"),
    "metrics.jsonl: a huge number": Bomb(
        _run("metrics.jsonl", b'{"epoch": ' + b"9" * 5000 + b', "step": 1}\n'),
        lambda path: RunDir(path).read_metrics(), "line 1"),
    "metrics.jsonl: an infinite epoch": Bomb(
        _run("metrics.jsonl", b'{"epoch": Infinity, "step": 1}\n'),
        lambda path: RunDir(path).read_metrics(), "line 1"),
    "environment.json: nested": Bomb(
        _run("environment.json", NESTED), lambda path: RunDir(path).trained_on(), "environment.json"),
    "TFDS: nested": Bomb(_prepared, _load_mnist, "dataset_info.json is damaged"),
    "safetensors: a header of 2**63 bytes": Bomb(
        _text("w.safetensors", (2**63).to_bytes(8, "little") + b"{" + bytes(99)), _weights, "is a damaged or"),
    "safetensors: a nested header": Bomb(
        _text("w.safetensors", len(NESTED).to_bytes(8, "little") + b'{"a":' + NESTED), _weights, "is a damaged or"),
    "dump: of 2**62 steps": Bomb(_dump(steps=2**62), dump.read, "steps are not there"),
    "dump: foreign members": Bomb(_dump(more=1), dump.read, "is damaged"),
    "dump: nested": Bomb(_text("dump.json", NESTED), dump.read, "is damaged"),
    "dump: names that lead out": Bomb(_dump(files={"../../etc/passwd": "ab"}), dump.read, "is not whole"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path_factory.mktemp("none") / "no-folder").touch()
    monkeypatch.setenv("JAXNN_CACHE_DIR", str(file))


@pytest.mark.parametrize("name", BOMBS)
def test_each_ends_in_a_sentence(name: str, tmp_path: Path) -> None:
    bomb = BOMBS[name]
    bomb.write(tmp_path)
    with guarded(mebibytes=1024):
        try:
            bomb.read(tmp_path)
        except UserError as error:
            assert bomb.says is not None and bomb.says in str(error), str(error)
            require_sentence(error, str(tmp_path))
        else:
            assert bomb.says is None, "it is read"


COMMANDS = {
    "gzip: 10 GB in 10 MB, as promised": ["train", "mnist-mlp", "--data-dir", "."],
    "tar: 2 GiB in 2 MB": ["train", "cifar-cnn", "--dataset", "pets.tar"],
    "CSV: a million columns": ["train", "csv", "--dataset", "a.csv"],
    "recipe.json: nested": ["report", "."],
    "metrics.jsonl: nested": ["report", "."],
    "safetensors: a header of 2**63 bytes": ["import", "w.safetensors", "lenet", "--out", "run"],
    "dump: of 2**62 steps": ["parity", "--left", ".", "--right", "."],
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if i > 1 else name for i, name in enumerate(COMMANDS)]
)
def test_a_command_ends_with_2_and_one_line(name: str, tmp_path: Path) -> None:
    BOMBS[name].write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    limit = 8 * 2**30, 8 * 2**30  # of addresses; JAX alone reserves some
    ended = subprocess.run(
        [sys.executable, "-m", "jaxnn", *COMMANDS[name]], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    assert ended.returncode == 2 and ended.stdout == "", ended
    assert ended.stderr.startswith("jaxnn: ") and ended.stderr.count("\n") == 1, ended.stderr
    assert sorted(tmp_path.rglob("*")) == before
