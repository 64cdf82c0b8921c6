"""The processes, one or several a machine, that train one run together (jax.distributed)."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxnn.errors import UserError, first_line

_PEERS = re.compile("gloo|nccl|coordination service|heartbeat|connection (closed|reset)", re.IGNORECASE)
_HEARTBEAT = 20  # seconds without a sign of life until a process counts as dead
_START = 300  # in which all must have started
_END = 30  # that those who are done wait for the others


def join(coordinator: str | None, processes: int | None, number: int | None) -> None:
    """Makes this process one of several; what is None is found in the environment (Slurm, Open MPI, Kubernetes, TPU).

    Returns when all are there. To be called before anything asks JAX for its devices. Raises UserError if the
    environment does not say enough, or not all come.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            number,
            initialization_timeout=_START,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_END,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {first_line(error)}; outside Slurm, Open MPI, Kubernetes and TPU pods give "
            "--coordinator HOST:PORT, --num-processes N and --process-id I, the same N and HOST:PORT to all"
        ) from error


def many() -> bool:
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that writes and reports."""
    return jax.process_index() == 0


def largest(*values: float) -> tuple[float, ...]:
    """Each value's largest over all processes, which thereby decide alike."""
    if not many():
        return values
    return tuple(np.max(multihost_utils.process_allgather(np.array(values, np.float32)), axis=0).tolist())


def wait(where: str) -> None:
    """Until all processes are at ``where``."""
    if many():
        multihost_utils.sync_global_devices(where)


def require_same(what: str, *values: str) -> None:
    """Raises UserError in all processes unless each has the same ``values``."""
    if many():
        digest = np.frombuffer(hashlib.sha256("\0".join(values).encode()).digest(), np.uint8)
        if not (multihost_utils.process_allgather(digest) == digest).all():
            raise UserError(f"--distributed: {what} is not the same in all processes; start all with the same command")


class PeerLost(Exception):
    """Another process of the run has ended, or cannot be reached any more."""


@contextlib.contextmanager
def depending() -> Iterator[None]:
    """Inside, the processes exchange what they compute. Raises PeerLost if one of them ends before its time."""
    try:
        if many():
            with _quiet():  # gloo says on standard output when it has connected
                wait("the start")
        yield
    except Exception as error:  # dispatch raises ValueError, orbax what it likes
        why = _of_peers(error)
        if why is None or not many():
            raise
        raise PeerLost(f"another process of this run has ended or cannot be reached ({why})") from error


def leave(code: int) -> None:
    """Ends this process at once if it is one of several: JAX would wait for all of them first."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _of_peers(error: BaseException | None) -> str | None:
    """What an error, or one that led to it, says of the connection to other processes; None if nothing."""
    while error is not None:
        if _PEERS.search(str(error)):
            return first_line(error)
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, nothing that C++ prints appears."""
    sys.stdout.flush()
    before = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
