"""The processors that this process may use."""

import os


def usable() -> int:
    """Those that it may run on (taskset, a batch system), or those of the machine where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
