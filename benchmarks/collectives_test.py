"""Collectives are read from XLA's text with the bytes that arithmetic gives."""

from typing import Any

import numpy as np
import pytest

from jaxnn import recipes

from . import collectives, simulated

_HEAD = "HloModule jit_f, is_scheduled=true, num_partitions=8\n"

LINES = {
    "a sum": ("%a = f32[784,512]{1,0} all-reduce(%b), replica_groups={}, to_apply=%add", "all-reduce", 8, 1605632),
    "by a mesh": (
        "ROOT %a = bf16[10]{0} all-reduce(%b), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}",
        "all-reduce",
        4,
        20,
    ),
    "by two axes of a mesh": (
        "%a = f32[] all-reduce(%b), replica_groups=mesh['x'=2,'y'=4,'z'=1], device_ids=([4,2]T(1,0)) {'x','y'}",
        "all-reduce",
        8,
        4,
    ),
    "by a part of an axis": (
        "%a = f32[] all-reduce(%b), replica_groups=mesh['x'=8] {'x':(1)2}, to_apply=%s",
        "all-reduce",
        2,
        4,
    ),
    "a tuple": (
        "%a = (f32[4,3]{1,0}, /*index=1*/s8[5]{0}, pred[], s4[4]) all-reduce(%b, %c), replica_groups={{0,1},{2,3}}",
        "all-reduce",
        2,
        48 + 5 + 1 + 2,
    ),
    "a sum that starts": (
        "%a = (f32[4], f32[2]) all-reduce-start(%b, %c), replica_groups=[2,4]<=[8], to_apply=%add",
        "all-reduce",
        4,
        24,
    ),
    "a gathering": (
        "%a = f64[8,3]{1,0} all-gather(%b), replica_groups=[1,8]<=[8], dimensions={0}",
        "all-gather",
        8,
        192,
    ),
    "a gathering that starts": (
        "%a = (f32[2,3]{1,0}, f32[8,3]{1,0}) all-gather-start(%b), replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}",
        "all-gather",
        4,
        96,
    ),
    "several that start": (
        "%a = ((f32[2], f32[1]), (f32[8], f32[4])) all-gather-start(%b, %c), replica_groups=[2,4]<=[8]",
        "all-gather",
        4,
        48,
    ),
    "a sum that is dealt out": (
        "%a = f32[2]{0} reduce-scatter(%b), replica_groups={{0,1,2,3}}, to_apply=%add",
        "reduce-scatter",
        4,
        32,
    ),
    "an exchange": (
        "%a = (f32[2,4]{1,0}, f32[2,4]{1,0}) all-to-all(%b, %c), replica_groups={{0,1}}",
        "all-to-all",
        2,
        64,
    ),
    "a shift": ("%a = u32[6]{0} collective-permute(%b), source_target_pairs={{0,1}}", "collective-permute", 2, 24),
    "a shift that starts": (
        "%a = (f32[6]{0:S(1)}, f32[6], u32[], u32[]) collective-permute-start(%b), source_target_pairs={{0,1},{1,0}}",
        "collective-permute",
        2,
        24,
    ),
}


@pytest.mark.parametrize(("line", "kind", "group", "size"), LINES.values(), ids=LINES)
def test_a_line(line: str, kind: str, group: int, size: int) -> None:
    (found,) = collectives.read(f'{_HEAD}  {line}, metadata={{op_name="jit(f)/all-gather("}}\n')
    assert (found.kind, found.group, found.bytes) == (kind, group, size)


SENT = {"all-reduce": 2 * 3 / 4, "all-gather": 3 / 4, "reduce-scatter": 3 / 4, "all-to-all": 3 / 4}


@pytest.mark.parametrize("kind", SENT)
def test_what_a_device_sends_by_the_ring(kind: str) -> None:
    of_results = 100 if kind == "reduce-scatter" else 400
    found = collectives.Collective(kind, (collectives.Array("s8", (of_results,)),), 4)
    assert found.sent == 400 * SENT[kind]
    assert collectives.Collective(kind, found.arrays, 1).sent == 0


def test_what_is_no_collective_does_not_count() -> None:
    others = """
  %done = f32[8]{0} all-gather-done(%all-gather-start)
  %x = f32[8]{0} get-tuple-element(%all-reduce), index=0, metadata={op_name="all-reduce(x)"}
  %y = f32[8]{0} fusion(%all-reduce, %all-gather.1), kind=kLoop, calls=%fused
  %all-reduce.5 = f32[8]{0} add(%all-reduce, %x)"""
    assert collectives.read(_HEAD + others) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("%a = f32[2] collective-broadcast(%b), replica_groups={}", "the bytes of a collective-broadcast"),
        ("%a = f32[2] all-reduce(%b), replica_groups=new(notation)", "the groups of devices"),
    ],
)
def test_what_cannot_be_told_is_refused(line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        collectives.read(_HEAD + line)


def _programs() -> dict[str, list[tuple[str, int, int]]]:
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))

    def placed(*axes: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*axes))

    def found(function: Any, of: Any, to: Any) -> list[tuple[str, int, int]]:
        compiled = jax.jit(function, in_shardings=of, out_shardings=to).lower(jnp.ones((16, 24))).compile()
        return [(each.kind, each.group, each.bytes) for each in collectives.read(compiled.as_text() or "")]

    def loop(x: Any) -> Any:
        return jax.lax.fori_loop(0, 5, lambda _, x: x + x.sum(), x)

    return {
        "sum": found(lambda x: x.sum(0), placed("data"), placed()),
        "gathering": found(lambda x: x, placed(None, "model"), placed()),
        "loop": found(loop, placed(("data", "model")), placed(("data", "model"))),
    }


def test_compiled_programs() -> None:
    with simulated.devices(8) as pool:
        assert pool.submit(_programs).result() == {
            "sum": [("all-reduce", 4, 24 * 4)],
            "gathering": [("all-gather", 2, 16 * 24 * 4)],
            "loop": [("all-reduce", 8, 4)],  # once a pass
        }
        recipe = recipes.get("mnist-mlp").replace(batch_size=16)
        (row,) = pool.submit(simulated.measure, recipe, ("data=8",), repeats=1).result()
    sizes = (784 * 64, 64, 64 * 64, 64, 64 * 64, 64, 64 * 10, 10)
    scalars = 3  # the loss, by what it is divided, and how many are right
    assert {each["kind"] for each in row["collectives"]} == {"all-reduce"}
    assert sum(each["times"] * each["bytes"] for each in row["collectives"]) == 4 * (sum(sizes) + scalars)
    assert row["sent"] == 2 * 7 / 8 * 4 * (sum(sizes) + scalars)
    assert max(each["bytes"] for each in row["collectives"]) == 4 * (sum(sizes) + 1)  # all gradients at once
    assert row["parameters"] == sum(sizes)


def test_local_statistics_stay_where_they_are() -> None:
    """BatchNorm by each device's own share needs no collective of its own; the first share's running ones travel."""
    recipe = recipes.get("fashion-mlp-bn").replace(batch_norm="local")
    with simulated.devices(8) as pool:
        (row,) = pool.submit(simulated.measure, recipe, ("data=8",), repeats=0).result()
    assert {each["kind"] for each in row["collectives"]} == {"all-reduce"}
    assert sum(each["times"] for each in row["collectives"]) <= 4
