"""One run on eight simulated devices computes what it computes on one, and communicates what it must.

The devices are of a child process, this file run as a program, which trains each case both ways and prints what it saw.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from jaxnn.errors import UserError
from jaxnn.mesh_shape import MeshShape

DEVICES, BOUND = 8, 1e-12


class Case(NamedTuple):
    recipe: str
    mesh: str
    steps: int
    changes: dict[str, Any] = {}
    memory_limit: int | None = None


# 1,437 digits: 22 batches of 64 and one of 29, which eight devices cannot share evenly.
CASES = {
    "compiled epochs": Case("mnist-mlp", "data=8", 50, {"batch_size": 64}),
    "shared parameters": Case("fashion-mlp-512", "data=4,model=2", 25, {"optimizer.momentum": 0.9, "clip.norm": 0.1}),
    "batch norm of the whole batch": Case("fashion-mlp-bn", "data=8", 25, {"batch_size": 64}),
    "batch norm of each share": Case("fashion-mlp-bn", "data=8", 25, {"batch_size": 64, "batch_norm": "local"}),
    "convolutions": Case("lenet", "data=8", 25),
    "streamed": Case(
        "mnist-mlp", "data=8", 25, {"batch_size": 64, "model.dropout": 0.2, "loss.reduction": "sum"}, memory_limit=0
    ),
}
# At the recipe's learning rate ResNet-18 on one device, its weights one ulp apart, has losses 1.6e-5 apart by step 200.
SLOW = {
    "compiled epochs": Case("mnist-mlp", "data=8", 200, {"batch_size": 64}),
    "shared parameters": Case("fashion-mlp-512", "data=4,model=2", 200, {"optimizer.momentum": 0.9}),
    "batch norm of the whole batch": Case("fashion-mlp-bn", "data=8", 200, {"batch_size": 64}),
    "residual blocks": Case(
        "resnet18", "data=4,model=2", 200, {"batch_size": 16, "input.size": 16, "optimizer.learning_rate": 1e-5}
    ),
    "a large classifier": Case("vgg16", "data=2,model=2", 3, {"batch_size": 8, "input.size": 32}),
    "convolutions for long": Case("cifar-cnn", "data=8", 200, {"batch_size": 64, "augment.flip": True}),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    return on_eight_devices("CASES", list(CASES))


def on_eight_devices(table: str, names: list[str]) -> dict[str, dict[str, Any]]:
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    child = subprocess.run(
        [sys.executable, __file__, table, *names], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


def agrees(seen: dict[str, Any]) -> None:
    assert max(seen["losses"], seen["test_loss"]) < BOUND
    assert {name: error for name, error in seen["state"].items() if error >= BOUND} == {}


@pytest.mark.parametrize("name", CASES)
def test_many_devices_compute_what_one_computes(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    agrees(outcomes[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_large_networks_on_many_devices(name: str) -> None:
    agrees(on_eight_devices("SLOW", [name])[name])


def test_an_epoch_stays_one_call(outcomes: dict[str, dict[str, Any]]) -> None:
    """The host sends off a part of an epoch, and hears of it when all its steps are taken."""
    for name in ("compiled epochs", "shared parameters", "convolutions"):
        assert outcomes[name]["one_call"] and " while(" in outcomes[name]["operations"], name


def test_only_gradients_and_what_was_measured_travel(outcomes: dict[str, dict[str, Any]]) -> None:
    """Data parallel: one all-reduce of all gradients; besides, single numbers and BatchNorm's statistics."""
    seen = outcomes["compiled epochs"]
    assert {name for name, _ in seen["collectives"]} == {"all-reduce"}
    largest = max(size for _, size in seen["collectives"])
    assert largest >= seen["parameters"]  # the loss may be in it
    assert sum(size for _, size in seen["collectives"]) <= seen["parameters"] + 4
    of_convolutions = outcomes["convolutions"]
    assert sum(size for _, size in of_convolutions["collectives"]) <= of_convolutions["parameters"] + 4
    of_batch_norm = outcomes["batch norm of the whole batch"]
    assert len(of_batch_norm["collectives"]) > len(seen["collectives"])


def test_shared_parameters_are_gathered_and_lie_in_shares(outcomes: dict[str, dict[str, Any]]) -> None:
    seen = outcomes["shared parameters"]
    assert {"all-reduce", "all-gather"} <= {name for name, _ in seen["collectives"]}
    assert 0.5 <= seen["held"] < 0.51  # of parameters and momentum on each device: small arrays are not shared
    assert outcomes["compiled epochs"]["held"] == 1


@pytest.mark.parametrize(
    ("mesh", "batch_size", "nearest"),
    [("data=8", 10, "8 or 16"), ("data=4,model=2", 5, "8"), ("data=3", 64, "63 or 66")],
)
def test_a_batch_that_cannot_be_shared(mesh: str, batch_size: int, nearest: str) -> None:
    with pytest.raises(UserError, match=f"use --batch-size {nearest}$"):
        MeshShape.parse(mesh).require_divides(batch_size)


@pytest.mark.parametrize(
    "text", ["", "8", "data", "data=0", "data=-1", "data=2,data=2", "rows=2", "data=2,", "data=1e3"]
)
def test_a_mesh_that_says_nothing(text: str) -> None:
    with pytest.raises(UserError, match="--mesh takes data=8 or data=4,model=2"):
        MeshShape.parse(text)


def observe(case: Case) -> dict[str, Any]:
    """Trains ``case`` on one device and on its mesh; what differs, relative to the largest number of a tensor."""
    import jax
    import numpy as np

    from jaxnn import data, device_mesh, experiment, precision, recipes, step

    recipe = recipes.get(case.recipe, dataset="digits").replace(precision="float64", steps=case.steps, **case.changes)
    dataset = data.prepare(data.load("digits", input=recipe.input), recipe.input)
    shape = MeshShape.parse(case.mesh)
    seen: dict[str, Any] = {}

    def train(devices: Any) -> tuple[Any, np.ndarray, float]:
        member = experiment.member(recipe, dataset, dtypes, shape)
        ready = experiment.join([member], dtypes, memory_limit=case.memory_limit, devices=devices)
        state = ready.start([step.initial_state(member.model, member.rule)])
        losses: list[float] = []
        epoch = 0
        while len(losses) < case.steps:
            epoch += 1
            for part in ready.epoch_parts(epoch)[0]:
                count = min(len(part.examples), case.steps - len(losses))
                if count:
                    record = ready.stack([experiment.empty_record(len(part.examples), dtypes)])
                    if not losses:
                        seen.update(_program(ready, state, record, part))
                    state, record = ready.advance(state, record, part, 0, count)
                    losses += np.asarray(record.loss)[:count].tolist()
        held = [leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(state.params)]
        sizes = [leaf.size for leaf in jax.tree.leaves(state.params)]
        seen.update(held=float(np.average(held, weights=sizes)), parameters=sum(sizes))
        return jax.device_get(state), np.array(losses), ready.evaluate(state, ready.test)[0].loss

    with precision.activate("float64") as dtypes:
        alone, shared = train(device_mesh.OneDevice()), train(device_mesh.DeviceMesh(shape))
    flat = [jax.tree_util.tree_leaves_with_path(state) for state, *_ in (alone, shared)]
    errors = {
        jax.tree_util.keystr(path): float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-3))
        for (path, one), (_, other) in zip(*flat, strict=True)
    }
    return seen | {
        "state": errors,
        "losses": float(np.abs(alone[1] / shared[1] - 1).max()),
        "test_loss": abs(alone[2] / shared[2] - 1),
    }


def _program(ready: Any, state: Any, record: Any, part: Any) -> dict[str, Any]:
    """The compiled step: its collectives, each with the numbers it brings to a device."""
    one_call = ready.in_one_call and ready.train.resident
    function, bounds = (ready.program.train_steps, (0, 1)) if one_call else (ready.program.train_step, (0,))
    split = next(ready.train.each_step(part.examples[:1]))
    text = function.lower(state, record, split, part.segment, *bounds).compile().as_text()
    found = re.findall(r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\(", text)
    sizes = [sum(_numbers(shape) for shape in re.findall(r"\[([\d,]*)\]", shapes)) for shapes, _ in found]
    return {
        "one_call": one_call,
        "operations": " ".join(set(re.findall(r" while\(", text))),
        "collectives": [(name, size) for (_, name), size in zip(found, sizes, strict=True)],
    }


def _numbers(shape: str) -> int:
    count = 1
    for size in filter(None, shape.split(",")):
        count *= int(size)
    return count


if __name__ == "__main__":
    cases = CASES if sys.argv[1] == "CASES" else SLOW
    sys.stdout.write(json.dumps({name: observe(cases[name]) for name in sys.argv[2:]}) + "\n")
