"""Peak memory of this process, in bytes: on the device if it has memory of its own, else of the host."""

import resource
import sys
from pathlib import Path


def host_peak() -> int:
    """The largest resident size so far.

    Linux's own record of this program where there is one: ru_maxrss also counts the parent that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_peak(framework: str) -> int | None:
    """What ``framework`` has held of an accelerator's memory at most; None on a CPU."""
    if framework == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    import jax

    statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return None if statistics is None else statistics.get("peak_bytes_in_use")
