"""Known traps, read from the facts alone: each is one sentence that says what is wrong and how to mend it."""

import re
from collections.abc import Iterator
from typing import Any

from jaxnn.doctor.facts import Facts

_CHANGE_RESULTS = re.compile(
    r"--xla_\w*(?:fast_math|fast_min_max|excess_precision|tf32|multi_thread_eigen|max_isa|vector_width"
    r"|optimization_level|autotune_level|disable\w*_passes)\w*(?:=\S+)?"
)
_FULL_PRODUCTS = {"highest", "float32"}


def find(facts: Facts) -> list[str]:
    """The warnings, most grave first; [] for a sound machine."""
    parts = (_versions, _accelerators, _tf32, _switches, _xla_flags, _threads, _openmp, _caches)
    return [sentence for part in parts for sentence in part(facts)]


def _versions(facts: Facts) -> Iterator[str]:
    if facts.unsupported:
        found = ", ".join(facts.unsupported)
        yield f"outside the versions that jaxnn is made for: {found}; install versions in these ranges"
    if "torch" not in facts.versions:
        yield (
            "PyTorch is not installed, so that nothing can be compared with it and --framework torch cannot run; "
            "pip install 'jaxnn[torch]'"
        )


def _accelerators(facts: Facts) -> Iterator[str]:
    """GPUs that the driver shows and a framework does not use, unless they are hidden on purpose."""
    if not facts.gpus or facts.variables.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return
    shown = f"nvidia-smi shows {facts.gpus[0]}" + (f" and {len(facts.gpus) - 1} more" if len(facts.gpus) > 1 else "")
    if facts.jax and facts.jax["backend"] == "cpu":
        if platforms := facts.variables.get("JAX_PLATFORMS"):
            yield f"{shown}, but JAX_PLATFORMS={platforms} keeps JAX from it; unset it to train there"
        else:
            yield f"{shown}, but this jaxlib is built without CUDA; pip install 'jaxnn[cuda13]' (or cuda12)"
    if facts.torch and facts.torch["backend"] == "cpu":
        yield f"{shown}, but this PyTorch cannot use it; install PyTorch's CUDA build, as pytorch.org says"


def _tf32(facts: Facts) -> Iterator[str]:
    override = facts.variables.get("NVIDIA_TF32_OVERRIDE")
    if override == "0":  # the libraries of NVIDIA then never use it
        return
    if facts.jax and _has_tf32(facts.jax) and _default_products(facts.jax) not in _FULL_PRODUCTS:
        yield (
            "your own JAX code multiplies float32 in TF32 on this GPU, three decimal digits; set "
            "JAX_DEFAULT_MATMUL_PRECISION=highest (jaxnn's own runs do so by themselves)"
        )
    if facts.torch and _has_tf32(facts.torch):
        flags = facts.torch["precision"]
        allowed = [
            what
            for what, on in {
                "convolutions (torch.backends.cudnn.allow_tf32 = False)": flags["cudnn_allow_tf32"],
                "matrix products (torch.set_float32_matmul_precision('highest'))": flags["matmul_allow_tf32"],
            }.items()
            if on
        ]
        if allowed:
            yield (
                f"your own PyTorch code may use TF32 on this GPU for {' and '.join(allowed)}; NVIDIA_TF32_OVERRIDE=0 "
                "turns it off (jaxnn's own runs do so by themselves)"
            )
    if override == "1" and (facts.jax and _has_tf32(facts.jax) or facts.torch and _has_tf32(facts.torch)):
        yield "NVIDIA_TF32_OVERRIDE=1 puts TF32 in place of every float32 product on this GPU; unset it"


def _has_tf32(framework: dict[str, Any]) -> bool:
    """Whether its first device is a GPU of NVIDIA's compute capability 8.0 (Ampere) or later."""
    capability = framework["compute_capability"]
    return framework["backend"] in ("gpu", "cuda") and capability is not None and float(capability) >= 8


def _default_products(jax: dict[str, Any]) -> object:
    return jax["precision"]["jax_default_matmul_precision"]


def _switches(facts: Facts) -> Iterator[str]:
    if not facts.jax:
        return
    if facts.jax["precision"]["jax_enable_x64"]:
        yield (
            "JAX_ENABLE_X64 is on: your own JAX code makes float64 arrays where others get float32; "
            "unset it (jaxnn's runs go by --precision)"
        )
    if not _has_tf32(facts.jax) and _default_products(facts.jax) not in (None, "default", *_FULL_PRODUCTS):
        yield (
            f"JAX_DEFAULT_MATMUL_PRECISION={_default_products(facts.jax)} lowers the precision of your own JAX code; "
            "unset it, or set highest"
        )
    meaning = {
        "jax_disable_jit": "nothing is compiled, and training is many times slower",
        "jax_debug_nans": "every result is looked at and computed again where it holds a NaN",
        "jax_debug_infs": "every result is looked at and computed again where it is infinite",
        "jax_check_tracer_leaks": "nothing that JAX traces is kept",
    }
    for name, what in meaning.items():
        if facts.jax["switches"][name]:
            yield f"{name.upper()} is left on: {what}; unset it"


def _xla_flags(facts: Facts) -> Iterator[str]:
    found = _CHANGE_RESULTS.findall(facts.variables.get("XLA_FLAGS", ""))
    if found:
        yield f"XLA_FLAGS holds {' '.join(found)}, which changes results; unset it to repeat what others computed"


def _threads(facts: Facts) -> Iterator[str]:
    allowed = facts.cores.allowed
    cores = f"{allowed} core{'s' * (allowed != 1)}"
    if facts.jax and facts.jax["backend"] == "cpu" and facts.jax["threads"] > allowed:
        yield f"XLA starts {facts.jax['threads']} threads on {cores} that this process may use; set NPROC={allowed}"
    if facts.torch and facts.torch["threads"] > allowed:
        yield (
            f"PyTorch starts {facts.torch['threads']} threads on {cores} that this process may use; "
            f"set OMP_NUM_THREADS={allowed}"
        )


def _openmp(facts: Facts) -> Iterator[str]:
    """Copies of one runtime keep to themselves; different ones can stop each other for good."""
    if not facts.torch:
        return
    kinds = {runtime["prefix"]: runtime["path"] for runtime in facts.torch["openmp"]}
    if len(kinds) > 1:
        listed = " and ".join(f"{name} ({path})" for name, path in sorted(kinds.items()))
        yield (
            f"two OpenMP runtimes in one process of PyTorch, which may hang or crash: {listed}; "
            "install PyTorch, NumPy and scikit-learn from one source, all by pip or all by conda"
        )


def _caches(facts: Facts) -> Iterator[str]:
    for cache in facts.caches:
        turned_off = facts.jax is not None and not facts.jax["switches"]["jax_enable_compilation_cache"]
        if not cache.writable and not (cache.holds == "compiled programs" and turned_off):
            yield (
                f"{cache.holds} cannot be kept in {cache.path}, so that each command makes them anew; "
                "make it a folder that you may write, or name another in JAXNN_CACHE_DIR"
            )
