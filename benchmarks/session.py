"""One process of the benchmark: a rival (on a TPU, which one process holds, several) and what it can be asked."""

import contextlib
import importlib
import logging
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from jaxnn.data import Dataset
from jaxnn.data.order import batching
from jaxnn.recipe import Recipe

from . import memory
from .cases import Case, dataset_of, recipe_of
from .gate import Allowed, Observed
from .rivals import RIVALS
from .settings import GATE_STEPS, Settings


class Start(NamedTuple):
    """The first steps, and by how many seconds they took longer than as many after them: compilation."""

    observed: Observed
    compile_seconds: float
    examples: int  # of a step
    steps: int


class Restart(Exception):
    """XLA's threads are chosen when it starts, and this case wants another number."""


def serve(connection: Connection, settings: Settings, cache: str) -> None:
    """Answers (method, arguments) with ("done", value), ("failed", why) or ("restart", None) until the pipe closes.

    ``cache``: an empty folder for what torch.compile writes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    os.environ |= {
        "OMP_NUM_THREADS": str(settings.threads),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # compile times are those of a first run
        "TORCHINDUCTOR_CACHE_DIR": cache,
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of processes beside the measured one
    }
    session = Session(settings)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = ("done", getattr(session, method)(*arguments))
        except Restart:
            answer = ("restart", None)
        except Exception as error:  # whatever a rival raises is what its row says
            answer = ("failed", _one_line(error))
        connection.send(answer)


class Session:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.prepared: dict[str, Any] = {}
        self.framework, self.baseline = "", 0
        self._activated = contextlib.ExitStack()  # for as long as the process lives
        self._data: tuple[str, Dataset] | None = None
        self._xla_threads: str | None = None

    def load(self, framework: str) -> None:
        """Imports a framework and sets its precision and threads."""
        settings, self.framework = self.settings, framework
        if framework == "torch":
            import torch

            from torchref import precision as of_torch

            logging.getLogger("torch").setLevel(logging.ERROR)  # torch.compile warns of what it always does
            torch.set_num_threads(settings.threads)
            torch.set_default_dtype(of_torch.dtype(settings.precision))
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
        else:
            import jax

            from jaxnn import experiment, precision  # noqa: F401  # part of the baseline

            self._activated.enter_context(precision.activate(settings.precision))
            if settings.tf32:
                jax.config.update("jax_default_matmul_precision", "tensorfloat32")
        self.baseline = memory.host_peak()

    def prepare(self, rival: str, case: Case) -> Start:
        """Brings ``rival`` to the start of ``case``, takes the steps of the gate, and as many again."""
        recipe, dataset = self._inputs(case)
        steps = _gate_steps(case, recipe, dataset)
        self._choose_threads(rival, recipe, dataset)
        of = RIVALS[rival]
        module = importlib.import_module(f".rivals.{of.module}", __package__)
        self.prepared.pop(rival, None)
        prepared = getattr(module, of.evaluate if case.evaluates and of.evaluate else of.prepare)(recipe, dataset)
        first, losses = _timed(lambda: prepared.run(steps))
        observed = Observed(np.asarray(losses, np.float64), prepared.parameters())
        second, _ = _timed(lambda: prepared.run(steps))
        self.prepared[rival] = prepared
        examples = len(dataset.test) if case.evaluates else batching(len(dataset.train), recipe).batch_size
        return Start(observed, max(first - second, 0.0), examples, steps)

    def run(self, rival: str, steps: int) -> float:
        """The seconds of the next ``steps`` steps."""
        return _timed(lambda: self.prepared[rival].run(steps))[0]

    def peak(self) -> dict[str, int | None]:
        """Bytes: after the imports, and at most so far."""
        return {"baseline": self.baseline, "host": memory.host_peak(), "device": memory.device_peak(self.framework)}

    def allowed(self, case: Case) -> Allowed:
        """What the gate allows in this case (PyTorch's process only)."""
        from . import band

        recipe, dataset = self._inputs(case)
        if case.evaluates:
            return band.evaluation(recipe)
        return band.training(recipe, dataset, _gate_steps(case, recipe, dataset), tf32=self.settings.tf32)

    def flops(self, case: Case) -> int:
        """Of a training step (JAX's process only)."""
        from . import flops

        return flops.of_step(*self._inputs(case))

    def matrix_rate(self) -> float:
        """Operations a second of large matrix products."""
        from . import matrix_rate

        os.environ["NPROC"] = str(self.settings.threads)
        return matrix_rate.measure(self.framework, self.settings.precision)

    def device(self) -> str:
        """The device of the framework in this process, in words."""
        if self.framework == "torch":
            import torch

            return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        import jax

        return jax.local_devices()[0].device_kind

    def _inputs(self, case: Case) -> tuple[Recipe, Dataset]:
        recipe = recipe_of(case, self.settings.precision)
        if self._data is None or self._data[0] != case.recipe:
            self._data = (case.recipe, dataset_of(recipe))
        return recipe, self._data[1]

    def _choose_threads(self, rival: str, recipe: Recipe, dataset: Dataset) -> None:
        """NPROC as `jaxnn train` chooses it, at most ``threads``; the plain loop's is ``threads``."""
        if RIVALS[rival].framework != "jax":
            return
        from jaxnn import threads

        os.environ.pop("NPROC", None)
        if rival == "jaxnn":
            threads.choose(recipe, dataset)
        chosen = os.environ.setdefault("NPROC", str(self.settings.threads))
        if self._xla_threads not in (None, chosen):
            raise Restart
        self._xla_threads = chosen

    def xla_threads(self) -> int | None:
        return None if self._xla_threads is None else int(self._xla_threads)


def _gate_steps(case: Case, recipe: Recipe, dataset: Dataset) -> int:
    """Not beyond an epoch that shuffles: the next one's batches are drawn by some rivals and not by others."""
    if case.evaluates:
        return 1
    return (
        min(GATE_STEPS, len(dataset.train) // batching(len(dataset.train), recipe).batch_size)
        if recipe.shuffle
        else GATE_STEPS
    )


def _timed(call: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    value = call()
    return time.perf_counter() - began, value


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
