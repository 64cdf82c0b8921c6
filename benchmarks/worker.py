"""The processes of the rivals, as the one that measures them sees them."""

import importlib.util
import multiprocessing
import tempfile
from types import TracebackType
from typing import Any

from .cases import Case
from .rivals import RIVALS
from .session import Start, serve
from .settings import Settings


class RivalFailed(Exception):
    """``rival`` cannot go on; the message says why."""

    def __init__(self, rival: str, why: str) -> None:
        self.rival = rival
        super().__init__(why)


class Worker:
    """A process in which one framework is loaded; requests are answered in turn."""

    def __init__(self, framework: str, settings: Settings) -> None:
        self.framework, self._settings = framework, settings
        self._cache = tempfile.TemporaryDirectory()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._settings, self._cache.name))
        self._process.start()
        theirs.close()
        self._connection.send(("load", (self.framework,)))
        self._loaded = False

    def ask(self, rival: str, method: str, *arguments: Any) -> Any:
        """The answer to a request. Raises RivalFailed if it has none."""
        try:
            if not self._loaded:
                self._answer(rival)
                self._loaded = True
            self._connection.send((method, arguments))
            return self._answer(rival)
        except (EOFError, OSError):
            self._process.join()
            raise RivalFailed(rival, f"its process ended with exit code {self._process.exitcode}") from None

    def prepare(self, rival: str, case: Case) -> Start:
        """Starts anew where XLA has to have another number of threads."""
        start = self.ask(rival, "prepare", rival, case)
        if start is None:
            self._end()
            self._start()
            start = self.ask(rival, "prepare", rival, case)
        return start

    def _answer(self, rival: str) -> Any:
        kind, value = self._connection.recv()
        if kind == "failed":
            raise RivalFailed(rival, value)
        return value

    def close(self) -> None:
        self._end()
        self._cache.cleanup()

    def _end(self) -> None:
        self._connection.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Workers:
    """A process for each rival; but a TPU can be held by one alone, which then has all of JAX's rivals."""

    def __init__(self, rivals: tuple[str, ...], settings: Settings) -> None:
        one_for_jax = importlib.util.find_spec("libtpu") is not None
        self._of: dict[str, Worker] = {}
        homes: dict[str, Worker] = {}
        for rival in rivals:
            framework = RIVALS[rival].framework
            home = framework if one_for_jax and framework == "jax" else rival
            if home not in homes:
                homes[home] = Worker(framework, settings)
            self._of[rival] = homes[home]
        self._all = list(homes.values())

    def __getitem__(self, rival: str) -> Worker:
        return self._of[rival]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        for worker in self._all:
            worker.close()
