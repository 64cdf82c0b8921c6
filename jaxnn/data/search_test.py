"""Where named sets are looked for, in which order, and what is said when there is none."""

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxnn.data import cache, check, fetch, inventory, load
from jaxnn.data.named import NAMED
from jaxnn.data.reachable import is_reachable
from jaxnn.errors import UserError


@pytest.fixture
def everywhere(tmp_path, write_idx, monkeypatch) -> dict[str, Path]:
    """Fashion-MNIST in all places but --data-dir, in the order of search."""
    places = {name: tmp_path / name for name in ("JAXNN_DATA_DIR", "cache", "system")}
    for name in ("JAXNN_DATA_DIR", "system"):
        write_idx(places[name] / "fashion-mnist")
    monkeypatch.setenv("JAXNN_DATA_DIR", str(places["JAXNN_DATA_DIR"]))
    monkeypatch.setenv("JAXNN_CACHE_DIR", str(places["cache"]))
    monkeypatch.setattr("jaxnn.data.search.SYSTEM_FOLDERS", (places["system"],))
    cache.write(cache.named_file("fashion_mnist"), load("fashion_mnist"))
    return places


def test_the_order_of_search(everywhere, monkeypatch):
    for place in everywhere.values():
        dataset = load("fashion-mnist")
        assert dataset.source.startswith(str(place)) and dataset.classes[-1] == "Ankle boot"
        place.rename(place.with_name("gone-" + place.name))
    with pytest.raises(UserError, match="is not on this machine"):
        load("fashion-mnist")


def test_a_data_dir_is_the_only_place_searched(everywhere, tmp_path, write_idx):
    (tmp_path / "empty" / "mnist").mkdir(parents=True)
    with pytest.raises(UserError, match="empty does not hold Fashion-MNIST; put it there as fashion_mnist/"):
        load("fashion_mnist", data_dir=tmp_path / "empty")
    with pytest.raises(UserError, match="none is not a folder"):
        load("fashion_mnist", data_dir=tmp_path / "none")
    write_idx(tmp_path / "own")
    assert load("fashion_mnist", data_dir=str(tmp_path / "own")).source == str(tmp_path / "own")


def test_a_damaged_place_is_an_error_and_no_reason_to_look_further(everywhere):
    broken = everywhere["JAXNN_DATA_DIR"] / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match=str(broken)):
        load("fashion_mnist")
    broken.parent.rename(broken.parent.with_name("elsewhere"))
    kept = cache.named_file("fashion_mnist")
    kept.write_bytes(kept.read_bytes()[:-2000] + bytes(2000))
    with pytest.raises(UserError, match=f"{kept} is damaged; delete it"):
        load("fashion_mnist")


@pytest.mark.parametrize("place", ["mnist", "MNIST", "MNIST/raw", "dataset-mnist", "."])
def test_names_of_the_folder(tmp_path, write_idx, place):
    write_idx(tmp_path / "data" / place)
    assert load("mnist", data_dir=tmp_path / "data").source == str(tmp_path / "data" / place)


def test_one_named_set_is_not_taken_for_another(tmp_path, write_idx, monkeypatch):
    write_idx(tmp_path)
    counts = check("mnist", data_dir=tmp_path).train_counts
    monkeypatch.setitem(NAMED, "fashion_mnist", dataclasses.replace(NAMED["fashion_mnist"], train_counts=counts))
    with pytest.raises(UserError, match="holds Fashion-MNIST, not MNIST; use --dataset fashion_mnist"):
        load("mnist", data_dir=tmp_path)
    assert load("fashion_mnist", data_dir=tmp_path).name == "fashion_mnist"


def test_cifar_100_is_not_cifar_10(tmp_path, cifar_batches, write_files):
    write_files(tmp_path / "cifar-100-binary.tar.gz", cifar_batches("binary"))
    with pytest.raises(UserError, match="does not hold CIFAR-10"):
        load("cifar10", data_dir=tmp_path)


def test_official_cifar_comes_before_other_copies_which_must_have_its_classes(
    tmp_path, cifar_batches, image_files, write_files
):
    jpeg = write_files(tmp_path / "cifar10-jpeg.tar", image_files())
    with pytest.raises(UserError, match="has the classes cat, dog, which are not CIFAR-10's"):
        load("cifar10", data_dir=tmp_path)
    assert load(str(jpeg)).classes == ("cat", "dog")
    official = write_files(tmp_path / "cifar-10-binary.tar.gz", cifar_batches("binary"))
    assert load("cifar10", data_dir=tmp_path).source == str(official)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "--dataset FILE"),
        ("mnits", "did you mean 'mnist'?"),
        ("no/such/file.csv", "neither a file or folder nor a known set"),
        ("cifar100", "did you mean 'cifar10'?"),
    ],
)
def test_unknown_names(name, sentence):
    with pytest.raises(UserError) as caught:
        load(name)
    assert sentence in str(caught.value)


def test_files_of_no_known_kind(tmp_path):
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    with pytest.raises(UserError, match="notes.pdf is no data set that is known here"):
        load(str(tmp_path / "notes.pdf"))


def test_an_unreadable_file_is_named(tmp_path, write_idx, monkeypatch):
    write_idx(tmp_path)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("jaxnn.data.idx.gzip.open", refuse)
    with pytest.raises(UserError, match=r"ubyte.gz cannot be read: Permission denied"):
        load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://no-such-host.invalid/", "http://192.0.2.1/"])
def test_an_unreachable_server_is_found_out_in_time(url, monkeypatch):
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    started = time.monotonic()
    assert not is_reachable(url)
    assert time.monotonic() - started < 4  # the promise to the user is 5 seconds


def test_a_name_lookup_that_hangs_is_given_up(monkeypatch):
    over = threading.Event()

    def hang(*_, **__):
        over.wait(8)
        raise OSError("too late")

    monkeypatch.setattr("socket.create_connection", hang)
    started = time.monotonic()
    assert not is_reachable("https://example.invalid/")
    assert time.monotonic() - started < 4
    over.set()


@pytest.mark.parametrize("proxy", ["http://proxy:port", "http://proxy:99999", "http://[proxy", "proxy:port"])
def test_a_proxy_without_an_address_is_said(proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(UserError, match=r"^\$https_proxy is no address such as .*; mend or unset it$"):
        is_reachable("https://example.invalid/")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_offline_names_the_ways_out(name):
    with pytest.raises(UserError) as caught:
        load(name)
    for way in ("--data-dir", "$JAXNN_DATA_DIR", f"jaxnn data fetch {name}", "--dataset digits"):
        assert way in str(caught.value)


def test_inventory_says_what_is_where(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    rows = {row.name: row for row in inventory(tmp_path)}
    assert rows["mnist"].found and rows["mnist"].where == str(tmp_path / "mnist")
    assert not rows["cifar10"].found and "cifar-10-binary.tar.gz" in rows["cifar10"].how
    assert rows["digits"].found
    assert not {row.name: row for row in inventory()}["mnist"].found


def test_check_finds_what_differs_from_the_official_set(tmp_path, write_idx):
    write_idx(tmp_path)
    checked = check("mnist", data_dir=tmp_path)
    assert sum(checked.train_counts) == 20 and checked.input_shape == (28, 28, 1)
    assert any("officially (5923" in problem for problem in checked.problems)
    assert any("train images differ" in problem for problem in checked.problems)
    assert check("iris").problems == ()


def test_check_finds_a_kept_set_that_was_changed(tmp_path, write_idx):
    write_idx(tmp_path)
    kept = cache.named_file("mnist")
    cache.write(kept, load("mnist", data_dir=tmp_path))
    assert not any("is not what was fetched" in problem for problem in check("mnist").problems)
    with np.load(kept) as arrays:
        changed = dict(arrays)
    changed["train_labels"][0] ^= 1
    np.savez(kept, **changed)
    assert any(f"{kept} is not what was fetched" in problem for problem in check("mnist").problems)


def test_fetch_says_where_a_set_is_already(everywhere):
    assert fetch("fashion-mnist") == everywhere["JAXNN_DATA_DIR"] / "fashion-mnist"
    with pytest.raises(UserError, match="comes with scikit-learn"):
        fetch("digits")


def test_importing_the_room_imports_nothing_heavy():
    heavy = ("jax", "torch", "sklearn", "PIL", "tensorflow_datasets", "grain")
    code = f"import sys, jaxnn.data; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
