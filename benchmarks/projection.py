"""How long a step would take on many real devices: a model that is small enough to be checked by hand.

Data parallelism: each device computes its share of the batch, all add up their gradients once a step, and wait besides
for the sums that the step itself needs (of the loss, of BatchNorm's statistics). Not in it: kernel launches and layers
that are bound by memory (but for the share of the peak), reading data, stragglers, and whether a batch fits the memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

BANDWIDTH_SHARE = 0.8  # of a link's stated rate that a collective reaches
START = 4e-6  # seconds that a collective takes whatever it moves

_H100 = "https://www.nvidia.com/en-us/data-center/h100/"  # its 1,979 TFLOP/s of bfloat16 are with sparsity
_DGX = (
    "https://docs.nvidia.com/dgx-basepod/reference-architecture-infrastructure-foundation-enterprise-ai/"
    "latest/core-components.html"
)
_NCCL = "https://github.com/NVIDIA/nccl/blob/master/src/graph/tuning.cc"
_V5E = "https://docs.cloud.google.com/tpu/docs/v5e"


class Link(NamedTuple):
    """Bytes a second that a device sends, as its vendor states them, and seconds from a device to the next."""

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Accelerator:
    """``peak``: stated FLOP/s, of which a step reaches ``share`` (assumed).

    ``box`` devices have links ``inside`` along rings in ``axes`` dimensions; boxes have links ``between``, of each
    device's own.
    """

    name: str
    peak: float
    share: float
    box: int
    axes: int
    inside: Link
    between: Link
    sources: tuple[str, ...]


# 900 GB/s of NVLink and 400 GB/s of a TPU's links are both directions together. Latencies are assumed, of the order of
# those in NCCL's own table (0.5 to 3.4 us a hop of NVLink, 2.7 to 10 us one of the network).
_NVLINK, _INFINIBAND = Link(450e9, 1e-6), Link(400e9 / 8, 5e-6)
_ICI, _DATA_CENTER = Link(200e9, 1e-6), Link(2 * 100e9 / 8 / 8, 10e-6)  # two 100 Gb/s cards of a host for its 8 chips
ACCELERATORS = (
    Accelerator("H100 SXM, float32", 67e12, 0.5, 8, 1, _NVLINK, _INFINIBAND, (_H100, _DGX, _NCCL)),
    Accelerator("H100 SXM, bfloat16", 989e12, 0.2, 8, 1, _NVLINK, _INFINIBAND, (_H100, _DGX, _NCCL)),
    Accelerator("TPU v5e, bfloat16", 197e12, 0.3, 256, 2, _ICI, _DATA_CENTER, (_V5E,)),
)
DEVICES = (8, 64, 1024)


class Work(NamedTuple):
    """Of a recipe: FLOPs an example, bytes of all gradients, and bytes of each sum that the step waits for."""

    flops: float
    gradients: float
    awaited: tuple[float, ...]


def all_reduce(size: float, devices: int, on: Accelerator) -> float:
    """Seconds until ``size`` bytes are added up: in rings inside a box, each device's share then between boxes.

    Between boxes the bytes of a ring, the hops of a tree.
    """
    if devices == 1 or size == 0:
        return 0.0
    inside, boxes = min(devices, on.box), math.ceil(devices / on.box)
    hops = 2 * on.axes * (inside ** (1 / on.axes) - 1)
    seconds = START + hops * on.inside.latency + _ring(size, inside, on.inside)
    return seconds + 2 * math.ceil(math.log2(boxes)) * on.between.latency + _ring(size / inside, boxes, on.between)


def _ring(size: float, devices: int, link: Link) -> float:
    return 2 * (devices - 1) / devices * size / (link.bandwidth * BANDWIDTH_SHARE)


def step(work: Work, on: Accelerator, devices: int, examples: int, *, overlap: bool) -> float:
    """Seconds of a step with ``examples`` on each device.

    ``overlap``: the gradients are added up while others are computed, so that the longer of both counts; else their
    sum does. What the step waits for always adds to it.
    """
    compute = examples * work.flops / (on.peak * on.share)
    gradients = all_reduce(work.gradients, devices, on)
    awaited = sum(all_reduce(size, devices, on) for size in work.awaited)
    return (max(compute, gradients) if overlap else compute + gradients) + awaited


def efficiency(work: Work, on: Accelerator, devices: int, batch: int, *, weak: bool, overlap: bool) -> float:
    """Examples a second and device, against one device alone. ``batch``: a device's if ``weak``, else of all."""
    share = batch if weak else math.ceil(batch / devices)
    total = batch * devices if weak else batch
    alone = batch / step(work, on, 1, batch, overlap=overlap)
    return total / devices / step(work, on, devices, share, overlap=overlap) / alone


def rows(
    name: str, work: Work, *, weak_batch: int, strong_batch: int, devices: tuple[int, ...] = DEVICES
) -> Iterator[dict[str, Any]]:
    """For each accelerator, way of scaling and number of devices; pairs are without and with overlap."""
    for on in ACCELERATORS:
        for weak in (True, False):
            for count in devices:
                batch = weak_batch if weak else strong_batch
                share = batch if weak else math.ceil(batch / count)
                yield {
                    "recipe": name,
                    "accelerator": on.name,
                    "scaling": "weak" if weak else "strong",
                    "devices": count,
                    "examples_per_device": share,
                    "step_seconds": [step(work, on, count, share, overlap=overlap) for overlap in (False, True)],
                    "efficiency": [
                        efficiency(work, on, count, batch, weak=weak, overlap=overlap) for overlap in (False, True)
                    ],
                }
