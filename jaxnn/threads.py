"""How many threads XLA computes with on a CPU; to be chosen before JAX starts its CPU client."""

import math
import os

from jaxnn import cores
from jaxnn.data import Dataset
from jaxnn.data.order import batching
from jaxnn.recipe import Recipe

# Numbers in a batch of inputs. On two cores 4 images of cifar-cnn (12,288) are 1.2 times as fast on one thread,
# 16 of fashion-mlp-512 (12,544) on two.
_SMALL = 12_500


def one_suffices(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether a step is so small that handing work over costs more than it gives."""
    batch_size = batching(len(dataset.train), recipe).batch_size
    return batch_size * math.prod(dataset.input_shape) <= _SMALL


def choose(recipe: Recipe, dataset: Dataset, *, runs: int = 1) -> None:
    """One thread for a small step; for those of several runs trained together as many devices as divide them.

    On two cores one thread makes mnist-mlp 1.3 and breast-cancer 1.2 times as fast; with fashion-mlp's batches of
    128 images it would cost a tenth. XLA's CPU client takes the size of its thread pool from NPROC, and its devices,
    each of which trains its share of the runs, from JAX_NUM_CPU_DEVICES, if these are set when the client starts;
    values of the user's own stay.
    """
    if not one_suffices(recipe, dataset) or "NPROC" in os.environ:
        return
    devices = math.gcd(runs, cores.usable())
    if devices == 1:
        os.environ["NPROC"] = "1"
    elif "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(devices))
