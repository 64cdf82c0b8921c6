"""Download from a loopback server, prepare without TensorFlow, read back: the source arrays, in their order."""

import functools
import hashlib
import http.server
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn.data import cache, fetch, load
from jaxnn.data.named import Origin
from jaxnn.errors import UserError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path):
    """Serves the files of a folder; returns their Origin."""
    servers = []

    def start(folder: Path) -> Origin:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        files = {
            path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.iterdir()
        }
        return Origin(base=f"http://127.0.0.1:{server.server_port}/", files=files)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets_come_back_equal_and_in_order(tmp_path, write_idx, serve, capfd, name):
    arrays = write_idx(tmp_path / "www")
    where = fetch(name, origin=serve(tmp_path / "www"))
    assert where == cache.named_file(name) and capfd.readouterr().out == ""
    kept, prepared = load(name), load(name, data_dir=tmp_path / "no-tfds-yet")
    for dataset in (kept, prepared):
        np.testing.assert_array_equal(dataset.train.inputs[..., 0], arrays["train-images-idx3-ubyte.gz"])
        np.testing.assert_array_equal(dataset.train.labels, arrays["train-labels-idx1-ubyte.gz"])
        np.testing.assert_array_equal(dataset.test.inputs[..., 0], arrays["t10k-images-idx3-ubyte.gz"])
        np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels-idx1-ubyte.gz"])
    assert kept.source == str(where) and prepared.source.endswith(f"{name}/3.0.1")
    assert fetch(name) == where  # without the server's checksums: it is there already


def test_cifar_comes_back_equal_and_stock_tfds_reads_it(tmp_path, cifar_batches, write_files, serve):
    import tensorflow_datasets as tfds

    write_files(tmp_path / "www" / "cifar-10-binary.tar.gz", cifar_batches("binary"))
    folder = fetch("cifar10", data_dir=tmp_path / "prepared", origin=serve(tmp_path / "www"))
    assert folder == tmp_path / "prepared" / "cifar10" / "3.0.2"
    ours = load("cifar10", data_dir=tmp_path / "prepared")
    direct = load("cifar10", data_dir=tmp_path / "www")
    assert ours.fingerprint == direct.fingerprint
    source: Any = tfds.data_source("cifar10", split="train", data_dir=folder.parents[1])
    stock = {example["id"]: example for example in source}
    assert len(stock) == len(ours.train) == 20
    for i, (pixels, label) in enumerate(zip(ours.train.inputs, ours.train.labels, strict=True)):
        example = stock[f"train_{i:05d}".encode()]
        np.testing.assert_array_equal(example["image"], pixels)
        assert example["label"] == label


def test_wrong_bytes_are_refused_in_one_sentence(tmp_path, write_idx, serve):
    write_idx(tmp_path / "www")
    origin = serve(tmp_path / "www")
    served = tmp_path / "www" / "t10k-labels-idx1-ubyte.gz"
    served.write_bytes(served.read_bytes()[:-1] + b"\7")
    with pytest.raises(UserError, match="MNIST: what http://127.0.0.1:.* sent has the wrong checksum") as caught:
        fetch("mnist", origin=origin)
    assert "\n" not in str(caught.value)
    assert not cache.named_file("mnist").exists()
    assert not [path for path in (tmp_path / "no-tfds-yet").rglob("*") if path.is_file()]
    with pytest.raises(UserError, match="is not on this machine"):
        load("mnist")


def test_a_missing_file_on_the_server_is_said(tmp_path, write_idx, serve):
    write_idx(tmp_path / "www")
    origin = serve(tmp_path / "www")
    (tmp_path / "www" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="MNIST could not be fetched from http://127.0.0.1.*404"):
        fetch("mnist", origin=origin)


def test_a_damaged_prepared_set_is_named(tmp_path, write_idx, serve, monkeypatch):
    write_idx(tmp_path / "www")
    folder = fetch("mnist", data_dir=tmp_path / "prepared", origin=serve(tmp_path / "www"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_features.py").touch()
    features = (folder / "features.json").read_text()
    own = "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
    assert own in features
    (folder / "features.json").write_text(features.replace(own, "evil_features.ClassLabel"))
    with pytest.raises(UserError, match=r"features.json names evil_features.ClassLabel, which is not of tensorflow"):
        load("mnist", data_dir=tmp_path / "prepared")
    assert "evil_features" not in sys.modules
    (folder / "features.json").write_text(features)
    (records,) = folder.glob("*-train.array_record*")
    records.write_bytes(records.read_bytes()[: records.stat().st_size // 2])
    with pytest.raises(UserError, match=f"{folder} is damaged"):
        load("mnist", data_dir=tmp_path / "prepared")
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match="dataset_info.json is damaged"):
        load("mnist", data_dir=tmp_path / "prepared")
