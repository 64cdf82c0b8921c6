"""How far PyTorch is from itself: the same training with other roundings, step by step.

Where a training amplifies roundings, no port can stay closer to PyTorch than PyTorch does.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxnn.parity.recording import Arrays, under
from jaxnn.parity.verdict.judge import Band
from jaxnn.parity.verdict.tolerances import error, magnitude


def measure(steps: Callable[..., Iterator[Arrays]], *, reverse: bool = True) -> Band:
    """The band of a PyTorch run: weights moved by one unit in the last place, three times; another number of threads;
    and, if the run's batches can be reversed (``torchref.recorder.Run.steps``), their examples in reverse."""
    import torch

    from torchref.recorder import Variation

    threads = 1 if torch.get_num_threads() > 1 else 2
    varied = [steps(Variation(ulp=seed)) for seed in (1, 2, 3)] + [steps(Variation(threads=threads))]
    masks: list[Any] = []
    if reverse:
        varied.append(steps(Variation(reverse=True), masks=iter(masks.pop, None)))
    found: dict[str, list[float]] = {}
    scales: dict[str, float] = {}  # the largest magnitude so far, as for the port's own errors
    for base in steps():
        own = under(base, "mask")
        masks.append([torch.tensor(own[str(number)]) for number in range(len(own))])
        others = [next(run) for run in varied]
        for key, value in base.items():
            if not key.startswith(("mask/", "gradient/")):
                scales[key] = max(scales.get(key, 0.0), magnitude(value))
                widest = max(error(other[key], value, scales[key]) for other in others if key in other)
                found.setdefault(key, []).append(widest)
    return {key: np.maximum.accumulate(errors) for key, errors in found.items()}
