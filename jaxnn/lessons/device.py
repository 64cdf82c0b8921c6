"""What runs where: the devices there are, arrays moved to one, a step computed on it, numbers back on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import course
from jaxnn.lessons.tabular import problem

LEARNING_RATE = 0.1


def name(device: Any) -> str:
    return f"{device.platform}:{device.id}"


def where(array: jax.Array) -> str:
    return ", ".join(map(name, array.devices()))


def run(*, seed: int) -> course.Lesson:
    # GPUs or TPUs if JAX has any, else the CPU. The first one is where arrays go unless told otherwise.
    device = jax.devices()[0]

    # From the host to the device: one array, or all arrays of a tree.
    params, inputs, _, loss = problem(seed)
    on_host = np.asarray(inputs)
    new = jnp.asarray(on_host)
    inputs = jax.device_put(on_host, device)
    params = jax.device_put(params, device)

    # A step on the device: a computation runs where its operands are, and leaves its results there.
    @jax.jit
    def step(params: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(params, inputs)
        return jax.tree.map(lambda weight, gradient: weight - LEARNING_RATE * gradient, params, gradients), value

    moved, before = step(params, inputs)
    _, after = step(moved, inputs)
    after.block_until_ready()  # a call returns before its result is there; to read a result is to wait for it too

    # Back to the host.
    bias = np.asarray(moved["output"]["bias"][...])

    numbers = {
        "input_bytes": inputs.nbytes,
        "weight_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "before": before,
        "after": after,
        "bias": bias,
    }
    words = {
        "devices": ", ".join(f"{name(each)} ({each.device_kind})" for each in jax.devices()),
        "chosen": f"Taken here, by jax.devices()[0]: {name(device)}",
        "new": f"jnp.asarray has put it on {where(new)}, the default device",
        "move": "jax.device_put(x, device) gives it back there: an array, or all arrays of a tree such as a network's",
        "result": where(after),
        "mixed": "Arrays put on different devices do not mix: a ValueError. One put nowhere goes where it is needed",
        "wait": "A call returns before its result is there; np.asarray(x) and x.block_until_ready() wait for it",
        "back": f"np.asarray(x), which {'may' if bias.flags.writeable else 'may not'} be written to",
        "several": "Over several devices: jax.device_put with a NamedSharding splits an array among those of a Mesh",
    }
    return course.lesson(numbers, words)
