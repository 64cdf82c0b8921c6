"""`jaxnn train` in a process of its own, which may have several devices: its losses and weights as files.

    python parity_tests/mesh_steps.py RUN ARGUMENT...

Gives the arguments to `jaxnn train --out RUN`; then RUN has losses.npy, of every step, and weights.safetensors.
"""

import sys
from pathlib import Path

import numpy as np

from jaxnn import cli
from jaxnn.cli.console import TrainingDisplay


def main(run: Path, arguments: list[str]) -> int:
    losses: list[float] = []
    TrainingDisplay.progress = lambda self, **event: losses.extend(event["losses"])  # printed, they are rounded
    code = cli.main(["train", *arguments, "--out", str(run)])
    np.save(run / "losses.npy", losses)
    return code or cli.main(["export", str(run), str(run / "weights.safetensors")])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
