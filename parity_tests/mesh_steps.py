"""What jaxnn's devices together make of recipes, step by step.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python parity_tests/mesh_steps.py FOLDER data=2 NAME...

FOLDER holds NAME.json, a recipe each; gets NAME.mesh.npz, the arrays of jaxnn.parity.recording with the steps as first
axis: loss, gradient, parameter and buffer.
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import data, device_mesh, experiment, optim, precision, step
from jaxnn.interop import state_dict
from jaxnn.mesh_shape import MeshShape
from jaxnn.recipe import Recipe

_GRADIENT = "gradient"  # the slot of the optimizer's state in which the gradient stays


def keeping_gradients(rule: optim.Rule) -> optim.Rule:
    """``rule``, whose state also holds what it was given: the gradient of the whole batch."""

    def init(params: Any) -> Any:
        state = rule.init(params)
        return state._replace(slots=state.slots | {_GRADIENT: jax.tree.map(jnp.zeros_like, params)})

    def update(gradients: Any, state: Any, params: Any, scalars: Any) -> Any:
        own = {name: slot for name, slot in state.slots.items() if name != _GRADIENT}
        updates, new = rule.update(gradients, state._replace(slots=own), params, scalars)
        return updates, new._replace(slots=new.slots | {_GRADIENT: gradients})

    return rule._replace(init=init, update=update)


def steps(recipe: Recipe, shape: MeshShape) -> Iterator[dict[str, Any]]:
    dataset = data.prepare(data.load(recipe.dataset, seed=recipe.seed), recipe.input)
    with precision.activate(recipe.precision) as dtypes:
        member = experiment.member(recipe, dataset, dtypes, shape)
        member = dataclasses.replace(member, rule=keeping_gradients(member.rule))
        rules = state_dict.rules(member.model)
        ready = experiment.join([member], dtypes, devices=device_mesh.DeviceMesh(shape))
        state = ready.start([step.initial_state(member.model, member.rule)])
        for epoch in range(1, -(-ready.total // ready.batches.steps) + 1):
            for part in ready.epoch_parts(epoch)[0]:
                record = ready.stack([experiment.empty_record(len(part.examples), dtypes)])
                for i in range(min(len(part.examples), ready.epoch_steps(epoch) - part.first)):
                    state, record = ready.advance(state, record, part, i, i + 1)
                    yield _arrays(rules, jax.device_get(record.loss)[i], jax.device_get(state))


def _arrays(rules: state_dict.Rules, loss: Any, state: step.TrainState) -> dict[str, Any]:
    trees = {"parameter": state.params, "buffer": state.buffers, _GRADIENT: state.optimizer.slots[_GRADIENT]}
    found = {kind: state_dict.to_torch(rules, tree) for kind, tree in trees.items()}
    return {"loss": loss} | {f"{kind}/{key}": value for kind, of in found.items() for key, value in of.items()}


def main(folder: Path, mesh: str, names: list[str]) -> None:
    for name in names:
        recipe = Recipe.from_json((folder / f"{name}.json").read_text(), where=name)
        taken = list(steps(recipe, MeshShape.parse(mesh)))
        arrays: Any = {key: np.stack([of[key] for of in taken]) for key in taken[0]}
        np.savez(folder / f"{name}.mesh.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
