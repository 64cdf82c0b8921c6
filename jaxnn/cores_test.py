"""A process that may run on one processor of many computes, and keeps its programs, as on a machine of one."""

import os

import pytest

from jaxnn import compilation_cache, data, recipes, threads


@pytest.mark.parametrize(("may_use", "kept"), [({5}, "1-threads"), ({2, 5}, "2-threads")])
def test_only_the_processors_that_it_may_use(may_use: set[int], kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"JAXNN_CACHE_DIR": "cache"})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: may_use, raising=False)
    recipe = recipes.get("mnist-mlp").replace(dataset="digits")
    threads.choose(recipe, data.prepare(data.load("digits"), recipe.input), runs=4)
    compilation_cache.choose()
    devices = {} if len(may_use) == 1 else {"JAX_NUM_CPU_DEVICES": "2"}
    assert {name: os.environ[name] for name in ("NPROC", "JAX_NUM_CPU_DEVICES") if name in os.environ} == (
        devices or {"NPROC": "1"}
    )
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == f"cache/xla/{kept}"
