"""Each trap planted alone in the facts of a sound machine gives its warning alone; what only looks like one, none."""

import dataclasses
from typing import Any

import pytest

from jaxnn.doctor.facts import Cache, Cores, Facts
from jaxnn.doctor.traps import find

JAX: dict[str, Any] = {
    "backend": "cpu",
    "devices": ["cpu"],
    "compute_capability": None,
    "threads": 4,
    "precision": {"jax_enable_x64": False, "jax_default_matmul_precision": None},
    "switches": {
        "jax_disable_jit": False,
        "jax_debug_nans": False,
        "jax_debug_infs": False,
        "jax_check_tracer_leaks": False,
        "jax_enable_compilation_cache": True,
    },
}
TORCH: dict[str, Any] = {
    "backend": "cpu",
    "devices": ["cpu"],
    "compute_capability": None,
    "threads": 4,
    "precision": {"float32_matmul_precision": "highest", "cudnn_allow_tf32": True, "matmul_allow_tf32": False},
    "openmp": [{"prefix": "libgomp", "path": "/a/libgomp.so"}, {"prefix": "libgomp", "path": "/b/libgomp.so"}],
}
SOUND = Facts(
    python="3.12.1",
    system="Linux",
    versions={"jax": "0.10.2", "torch": "2.13.0"},
    unsupported=(),
    cores=Cores(machine=64, affinity=8, allowed=4),
    gpus=(),
    variables={},
    caches=(Cache("data", "/cache", 0, True), Cache("compiled programs", "/cache/xla", 0, True)),
    data=(),
    jax=JAX,
    torch=TORCH,
)
FULL = {"jax_enable_x64": False, "jax_default_matmul_precision": "highest"}
GPU = JAX | {"backend": "gpu", "devices": ["NVIDIA H100"], "compute_capability": "9.0", "precision": FULL}
CUDA = TORCH | {
    "backend": "cuda",
    "devices": ["NVIDIA H100"],
    "compute_capability": "9.0",
    "precision": {"float32_matmul_precision": "highest", "cudnn_allow_tf32": False, "matmul_allow_tf32": False},
}
OLD_GPU = {"compute_capability": "7.5"}
TWO_RUNTIMES = [*TORCH["openmp"], {"prefix": "libiomp", "path": "/c/libiomp5.so"}]
READ_ONLY = (Cache("data", "/cache", 0, False), SOUND.caches[1])
PROGRAMS_READ_ONLY = (SOUND.caches[0], Cache("compiled programs", "/cache/xla", 0, False))
SMI = {"gpus": ("NVIDIA H100", "NVIDIA H100")}

TRAPS: dict[str, tuple[dict[str, Any], str]] = {
    "version too old": ({"unsupported": ("jax 0.4.1 (>=0.8)",)}, "jax 0.4.1 (>=0.8)"),
    "no PyTorch": ({"versions": {"jax": "0.10.2"}, "torch": None}, "pip install 'jaxnn[torch]'"),
    "jaxlib without CUDA": ({**SMI, "torch": CUDA}, "NVIDIA H100 and 1 more, but this jaxlib is built without CUDA"),
    "GPU hidden from JAX": ({**SMI, "torch": CUDA, "variables": {"JAX_PLATFORMS": "cpu"}}, "JAX_PLATFORMS=cpu keeps"),
    "PyTorch without CUDA": ({**SMI, "jax": GPU}, "this PyTorch cannot use it"),
    "TF32 in JAX": ({"jax": GPU | {"precision": JAX["precision"]}}, "JAX_DEFAULT_MATMUL_PRECISION=highest"),
    "TF32 in JAX, asked for": (
        {"jax": GPU | {"precision": FULL | {"jax_default_matmul_precision": "tensorfloat32"}}},
        "in TF32 on this GPU",
    ),
    "TF32 in PyTorch's convolutions": (
        {"torch": CUDA | {"precision": CUDA["precision"] | {"cudnn_allow_tf32": True}}},
        "for convolutions (torch.backends.cudnn.allow_tf32 = False)",
    ),
    "TF32 in PyTorch's products": (
        {"torch": CUDA | {"precision": CUDA["precision"] | {"matmul_allow_tf32": True}}},
        "for matrix products (torch.set_float32_matmul_precision('highest'))",
    ),
    "TF32 forced": ({"jax": GPU, "variables": {"NVIDIA_TF32_OVERRIDE": "1"}}, "NVIDIA_TF32_OVERRIDE=1"),
    "x64": ({"jax": JAX | {"precision": JAX["precision"] | {"jax_enable_x64": True}}}, "JAX_ENABLE_X64 is on"),
    "lowered products": (
        {"jax": JAX | {"precision": FULL | {"jax_default_matmul_precision": "bfloat16"}}},
        "JAX_DEFAULT_MATMUL_PRECISION=bfloat16 lowers",
    ),
    **{
        f"{name} left on": ({"jax": JAX | {"switches": JAX["switches"] | {name: True}}}, f"{name.upper()} is left on")
        for name in ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs", "jax_check_tracer_leaks")
    },
    **{
        f"flag {flag}": ({"variables": {"XLA_FLAGS": f"--xla_dump_to=/tmp {flag}"}}, f"XLA_FLAGS holds {flag}, which")
        for flag in (
            "--xla_cpu_enable_fast_math=true",
            "--xla_allow_excess_precision=false",
            "--xla_cpu_multi_thread_eigen=false",
            "--xla_cpu_max_isa=AVX2",
            "--xla_backend_optimization_level=0",
            "--xla_gpu_autotune_level=0",
        )
    },
    "more XLA threads than a container grants": ({"jax": JAX | {"threads": 8}}, "set NPROC=4"),
    "more PyTorch threads than a container grants": ({"torch": TORCH | {"threads": 8}}, "set OMP_NUM_THREADS=4"),
    "two OpenMP runtimes": ({"torch": TORCH | {"openmp": TWO_RUNTIMES}}, "libiomp (/c/libiomp5.so)"),
    "data not kept": ({"caches": READ_ONLY}, "data cannot be kept in /cache,"),
    "programs not kept": ({"caches": PROGRAMS_READ_ONLY}, "compiled programs cannot be kept in /cache/xla,"),
}

SILENT: dict[str, dict[str, Any]] = {
    "a sound machine": {},
    "a GPU that both use": {**SMI, "jax": GPU, "torch": CUDA},
    "a GPU hidden on purpose": {**SMI, "variables": {"CUDA_VISIBLE_DEVICES": ""}},
    "a GPU without TF32": {
        "jax": GPU | OLD_GPU | {"precision": JAX["precision"]},
        "torch": CUDA | OLD_GPU | {"precision": TORCH["precision"]},
    },
    "TF32 turned off for all": {
        "jax": GPU | {"precision": JAX["precision"]},
        "torch": CUDA | {"precision": TORCH["precision"]},
        "variables": {"NVIDIA_TF32_OVERRIDE": "0"},
    },
    "JAX on an AMD GPU": {"jax": GPU | {"compute_capability": None, "precision": JAX["precision"]}},
    "flags that change no result": {"variables": {"XLA_FLAGS": "--xla_dump_to=/tmp --xla_gpu_deterministic_ops=true"}},
    "fewer threads than cores": {"jax": JAX | {"threads": 1}, "torch": TORCH | {"threads": 1}},
    "no cache wanted": {
        "caches": PROGRAMS_READ_ONLY,
        "jax": JAX | {"switches": JAX["switches"] | {"jax_enable_compilation_cache": False}},
    },
    "frameworks that cannot start": {"jax": None, "torch": None},
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_one_sentence_that_says_how_to_mend_it(name: str) -> None:
    changes, expected = TRAPS[name]
    [sentence] = find(dataclasses.replace(SOUND, **changes))
    assert expected in sentence
    assert "\n" not in sentence and not sentence.endswith(".")


@pytest.mark.parametrize("name", SILENT)
def test_no_false_alarm(name: str) -> None:
    assert find(dataclasses.replace(SOUND, **SILENT[name])) == []
