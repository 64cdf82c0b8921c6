"""LeNet on a random picture: its parameters, a backward pass, a step by hand, then an optimizer's."""

import textwrap
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxnn import course, losses, models, optim, recipe
from jaxnn.nn import conv_method
from jaxnn.torch_random import TorchGenerator

LEARNING_RATE, STEPS = 0.01, 20
OPTIMIZERS = {
    "sgd": optax.sgd(LEARNING_RATE),
    "nesterov": optim.sgd(LEARNING_RATE, momentum=0.9, nesterov=True),
    "adam": optim.adam(1e-3),
    "rmsprop": optim.rmsprop(1e-3),
}


def primitives(jaxpr: Any) -> Iterator[str]:
    """The operations of a program in order, those of the functions that it calls in their places."""
    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if inner is None:
            yield equation.primitive.name
        else:
            yield from primitives(inner)


def run(*, seed: int) -> course.Lesson:
    # The network, and all that is random: a picture (1, 32, 32, 1), a vector and a target of (1, 10).
    generator = TorchGenerator(seed)
    net: Any = models.build(
        recipe.LeNet(), input_shape=(32, 32, 1), outputs=10, rngs=generator, param_dtype=jnp.float64
    )
    picture = jnp.asarray(generator.normal((1, 32, 32, 1), 1.0), jnp.float64)
    vector, target = jnp.split(jnp.asarray(generator.normal((2, 10), 1.0), jnp.float64), 2)
    layers = {name: getattr(net, name) for name in ("conv1", "conv2", "fc1", "fc2", "fc3")}
    described = [f"  {name}: {type(layer).__name__}, kernel {layer.kernel.shape}" for name, layer in layers.items()]

    # JAX differentiates functions, here of the parameters: a tree of arrays that is taken out of the network.
    definition, params = nnx.split(net)

    def forward(params: Any) -> jax.Array:
        return nnx.merge(definition, params)(picture)  # type: ignore[operator]

    def loss(params: Any) -> jax.Array:
        return losses.mse_loss(forward(params), target)

    # Backward with a vector: the gradient of the ten outputs' sum, each weighted by its number in the vector.
    @jax.jit
    def backward(params: Any, vector: jax.Array) -> tuple[jax.Array, Any]:
        output, pullback = jax.vjp(forward, params)
        return output, *pullback(vector)

    output, of_vector = backward(params, vector)

    # The way from the picture to the loss, as JAX has traced it.
    with conv_method("lax"):
        traced = [name for name in primitives(jax.make_jaxpr(loss)(params).jaxpr) if name != "broadcast_in_dim"]

    # Backward from the loss. No call knows of the one before, so there is nothing to set to zero.
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    before, gradients = value_and_grad(params)
    again = value_and_grad(params)[1]

    # A step by hand.
    @jax.jit
    def descend(params: Any, gradients: Any) -> Any:
        return jax.tree.map(lambda weight, gradient: weight - LEARNING_RATE * gradient, params, gradients)

    by_hand = descend(params, gradients)

    # The loop: gradients, what the optimizer makes of them, new parameters.
    apply = jax.jit(optax.apply_updates)
    paths = {}
    for name, optimizer in OPTIMIZERS.items():
        update = jax.jit(optimizer.update)
        trained: Any = params
        state = jax.jit(optimizer.init)(trained)
        path = []
        for _ in range(STEPS):
            value, gradients_now = value_and_grad(trained)
            updates, state = update(gradients_now, state, trained)
            trained = apply(trained, updates)
            path.append(value)
        paths[name] = jnp.stack([*path, value_and_grad(trained)[0]])

    leaves = jax.tree.leaves(params)
    numbers = {
        "count": len(leaves),
        "weights": sum(leaf.size for leaf in leaves),
        "output": output[0],
        "of_vector": of_vector["conv1"]["bias"][...],
        "loss": before,
        "gradient": gradients["conv1"]["bias"][...],
        "twice": gradients["conv1"]["bias"][...] + again["conv1"]["bias"][...],  # to accumulate is to add
        "by_hand": value_and_grad(by_hand)[0],
        "bias": by_hand["conv1"]["bias"][...],
    }
    numbers |= paths
    words = {
        "network": "\n".join(described),
        "shapes": f"conv1.kernel {params['conv1']['kernel'].shape}, conv2.kernel {params['conv2']['kernel'].shape}",
        "layout": "height, width, channels in, channels out",
        "graph": "The way there, as JAX traces it (jax.make_jaxpr; max is ReLU, reduce_window_max the pooling)",
        "chain": textwrap.fill(" -> ".join(traced), 100, break_on_hyphens=False),
        "before": "none; jax.grad returns gradients and keeps none",
        "accumulate": "Two backward passes; whoever wants their sum adds them",
        "optimizer": "optax.sgd",
    }
    return course.lesson(numbers, words)
