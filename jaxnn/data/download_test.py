"""Downloads from a loopback server that fails in every way: one sentence, nothing left, and the next try works."""

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jaxnn.data import fetch, load
from jaxnn.data.named import Origin
from jaxnn.errors import UserError

FILE = "train-images-idx3-ubyte.gz"


class Server(http.server.ThreadingHTTPServer):
    """Answers with ``files``, but for FILE as ``fault`` does, for the first ``times`` requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.fault: Callable[[Handler, bytes], None] | None = None
        self.times = 1000
        self.over = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # that the client has gone


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        data, fault = self.server.files[name], self.server.fault
        if fault is not None and self.path == f"/{FILE}" and self.server.times > 0:
            self.server.times -= 1
            fault(self, data)
        else:
            self.answer(data)

    def answer(self, data: bytes, *, length: int | None = None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(64):  # MiB; a client that is not gone by then takes all that comes
            self.wfile.write(bytes(2**20))
        self.server.fault = None

    def silent(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:10])
        self.wfile.flush()
        self.server.over.wait(20)

    def trickle(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for byte in data[:40]:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.over.wait(0.5):
                break

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, write_idx: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("jaxnn.data.tfds_source.SILENCE", 1)
    monkeypatch.setattr("jaxnn.data.tfds_source.MINUTE", 2)
    write_idx(tmp_path / "www")
    with Server() as server:
        server.files = {file.name: file.read_bytes() for file in (tmp_path / "www").iterdir()}
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def origin_of(server: Server) -> Origin:
    files = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in server.files.items()}
    return Origin(base=f"http://127.0.0.1:{server.server_port}/", files=files)


FAULTS: dict[str, Callable[[Handler, bytes], None]] = {
    "cuts before it answers": lambda handler, data: handler.connection.close(),
    "cuts in the middle": lambda handler, data: handler.answer(data[: len(data) // 2], length=len(data)),
    "is silent in the middle": lambda handler, data: handler.silent(data),
    "sends a byte now and then": lambda handler, data: handler.trickle(data),
    "claims less": lambda handler, data: handler.answer(data, length=len(data) // 2),
    "claims more": lambda handler, data: handler.answer(data, length=2 * len(data)),
    "claims no number": lambda handler, data: handler.answer(data, Content_Length="many"),
    "sends without end": lambda handler, data: handler.endless(),
    "sends other bytes": lambda handler, data: handler.answer(data[:-1] + b"?"),
    "sends nothing": lambda handler, data: handler.answer(b""),
    "sends a page": lambda handler, data: handler.answer(b"<html>please log in</html>", Content_Type="text/html"),
    "packs what is packed": lambda handler, data: handler.answer(data, Content_Encoding="gzip"),
    "does not find it": lambda handler, data: handler.answer(b"", status=404),
    "has an error": lambda handler, data: handler.answer(b"", status=500),
    "redirects to itself": lambda handler, data: handler.answer(b"", status=302, Location=f"/{FILE}"),
    "redirects to a file": lambda handler, data: handler.answer(b"", status=302, Location="file:///etc/passwd"),
    "names a file elsewhere": lambda handler, data: handler.answer(
        data[:-1], Content_Disposition="attachment; filename=../../../evil"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_a_sentence_and_leaves_nothing(server: Server, tmp_path: Path, fault: str) -> None:
    server.fault = FAULTS[fault]
    began, data_dir = time.monotonic(), tmp_path / "prepared"
    with pytest.raises(UserError, match=r"MNIST.*http://127\.0\.0\.1") as caught:
        fetch("mnist", data_dir=data_dir, origin=origin_of(server))
    assert str(caught.value).isprintable() and time.monotonic() - began < 15
    assert server.fault is not None, "all that came was taken"
    left = [path for place in (data_dir, tmp_path / "no-cache-yet") for path in place.rglob("*") if path.is_file()]
    assert left == [] and not list(tmp_path.glob("**/evil"))


HARMLESS: dict[str, Callable[[Handler, bytes], None]] = {
    "overloaded for once": lambda handler, data: handler.answer(b"", status=503),
    "redirects": lambda handler, data: handler.answer(b"", status=302, Location=f"/elsewhere/{FILE}"),
}


def test_the_next_try_works(server: Server, tmp_path: Path) -> None:
    for fault in ("cuts in the middle", "sends other bytes"):
        server.fault = FAULTS[fault]
        with contextlib.suppress(UserError):
            fetch("mnist", data_dir=tmp_path / "prepared", origin=origin_of(server))
    server.fault = None
    fetch("mnist", data_dir=tmp_path / "prepared", origin=origin_of(server))
    assert len(load("mnist", data_dir=tmp_path / "prepared").train) == 20


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_is_no_fault_is_followed(server: Server, tmp_path: Path, fault: str) -> None:
    server.fault, server.times = HARMLESS[fault], 1
    fetch("mnist", data_dir=tmp_path / "prepared", origin=origin_of(server))
    assert len(load("mnist", data_dir=tmp_path / "prepared").train) == 20
