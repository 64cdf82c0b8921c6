"""The options of ``jaxnn train`` that say which devices share a run, and how its processes find each other."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxnn.cli import watch
from jaxnn.errors import Ended, UserError
from jaxnn.mesh_shape import MeshShape
from jaxnn.run_dir import Framework


@dataclass(frozen=True)
class DeviceOptions:
    mesh: str | None = None
    """data=8: so many devices share each batch; data=4,model=2: pairs also share parameters and optimizer state."""
    distributed: bool = False
    """One of several processes of the run; outside Slurm, MPI, Kubernetes and TPU pods the next three say which."""
    coordinator: str | None = None
    """HOST:PORT on which process 0 listens for the others."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0."""

    @property
    def shape(self) -> MeshShape | None:
        return None if self.mesh is None else MeshShape.parse(self.mesh)

    def require(self, framework: Framework, *, out: bool, several: bool) -> None:
        """Raises UserError for what does not go together; ``out``: --out is given; ``several``: there are many runs."""
        given = [self.coordinator, self.num_processes, self.process_id]
        if framework == "torch" and (self.mesh is not None or self.distributed):
            raise UserError(
                "--mesh and --distributed are JAX's; for PyTorch on several devices use "
                "`torchrun --nproc-per-node N -m torchref train --recipe FILE --out RUN`, FILE a run's recipe.json"
            )
        if self.distributed and not out:
            raise UserError("--distributed needs --out RUN, a folder that all processes see")
        if not self.distributed and given != [None] * 3:
            raise UserError("--coordinator, --num-processes and --process-id are for --distributed; add it")
        if None in given and given != [None] * 3:
            raise UserError("--coordinator, --num-processes and --process-id go together; give all three, or none")
        if self.num_processes is not None and not 0 <= (self.process_id or 0) < self.num_processes:
            raise UserError(f"--process-id must be from 0 to {self.num_processes - 1}, but it is {self.process_id}")
        if self.coordinator is not None and not self.coordinator.rpartition(":")[2].isdecimal():
            raise UserError(f"--coordinator takes HOST:PORT, but it is {self.coordinator!r}")
        if several and (self.shape is not None or self.distributed):
            raise UserError(
                "--mesh and --distributed share one run; --seeds and --sweep use all devices of a machine without them"
            )

    @property
    def reports(self) -> bool:
        """Whether this process says and writes what the run is."""
        if not self.distributed:
            return True
        from jaxnn import hosts

        return hosts.is_first()

    @contextlib.contextmanager
    def joined(self, out: Path | None) -> Iterator[None]:
        """Inside, this process is one of all; it says nothing unless it is the first.

        Raises Ended if another process ends before its time; ``out``: the run that can go on then.
        """
        if not self.distributed:
            yield
            return
        watch.end_with_watcher()
        from jaxnn import hosts

        hosts.join(self.coordinator, self.num_processes, self.process_id)
        with contextlib.ExitStack() as stack:
            if not hosts.is_first():
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            try:
                yield
            except hosts.PeerLost as lost:
                raise Ended(f"{lost}; {goes_on(out)}", 1) from lost


def goes_on(run: Path | str | None) -> str:
    """How a run goes on that has lost a process."""
    return f"`jaxnn train --resume --out {run or 'RUN'}` goes on from the newest checkpoint, in any number of processes"
