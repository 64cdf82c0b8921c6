"""How many devices share a run's work, as ``--mesh data=4,model=2`` says it."""

import re
from dataclasses import dataclass

from jaxnn.errors import UserError


@dataclass(frozen=True)
class MeshShape:
    """``data`` x ``model`` devices, each of which computes its share of every batch.

    The ``data`` rows of ``model`` devices hold whole copies of parameters and optimizer state, of which each device of
    a row has its share.
    """

    data: int = 1
    model: int = 1

    @classmethod
    def parse(cls, text: str) -> "MeshShape":
        """Raises UserError for anything but data=N, model=N or both."""
        found = re.findall(r"(data|model)=([1-9][0-9]{0,5})", text)
        sizes = {axis: int(size) for axis, size in found}
        if len(sizes) != len(found) or ",".join(f"{axis}={size}" for axis, size in found) != text or not found:
            raise UserError(f"--mesh takes data=8 or data=4,model=2, numbers of devices, but it is {text!r}")
        return cls(**sizes)

    @property
    def devices(self) -> int:
        return self.data * self.model

    def __str__(self) -> str:
        return f"data={self.data}" + (f",model={self.model}" if self.model > 1 else "")

    def record(self) -> dict[str, int]:
        """As environment.json has it."""
        return {"data": self.data, "model": self.model}

    def require_divides(self, batch_size: int) -> None:
        """Raises UserError, with the nearest sizes, if a full batch cannot be shared evenly."""
        if batch_size % self.devices:
            below = batch_size // self.devices * self.devices
            nearest = [str(size) for size in (below, below + self.devices) if size]
            raise UserError(
                f"a batch of {batch_size} cannot be shared by the {self.devices} devices of the mesh {self}; "
                f"use --batch-size {' or '.join(nearest)}"
            )
