"""``python -m benchmarks.run``: training-step throughput of jaxnn against PyTorch eager.

Both sides start from the same weights and see the same batches; a case whose losses differ after 20
steps is reported as such, without a speed.
"""

import datetime
import importlib.metadata
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import jax_backend, timing, torch_backend
from benchmarks.cases import CASES, Case, inputs
from jaxnn import threads

_GATE_STEPS = 20
_GATE = 5e-4  # float32: see the parity levels in the README


@dataclass(frozen=True)
class Options:
    """Measure training steps, JAX against PyTorch, interleaved in this process."""

    recipe: tuple[str, ...] = ()
    """Only these recipes (default: all)."""
    rounds: int = 7
    seconds: float = 0.7
    """Of each measurement."""
    threads: int | None = None
    """PyTorch's threads (default: its own choice, all cores). XLA uses all cores, or what jaxnn.threads chooses."""
    out: Path | None = None
    """Write the figures there as JSON."""


def main() -> None:
    options = tyro.cli(Options)
    if options.threads:
        torch.set_num_threads(options.threads)
    machine = describe()
    print(f"{machine['processor']}, {machine['cores']} cores, torch threads {machine['torch_threads']}", flush=True)
    print(f"jax {machine['jax']}, torch {machine['torch']}; examples a second: median [quartiles]")
    cases = [case for case in CASES if not options.recipe or case.recipe in options.recipe]
    # A process for each case: XLA's threads are chosen when it starts.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        results = list(fresh.map(measure, cases, [options] * len(cases)))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def measure(case: Case, options: Options) -> dict[str, Any]:
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe, dataset = inputs(case)
    threads.choose(recipe, dataset)
    run_jax, compile_seconds = jax_backend.prepare(recipe, dataset)
    run_torch, _ = torch_backend.prepare(recipe, dataset)
    ours, theirs = run_jax(_GATE_STEPS), run_torch(_GATE_STEPS)
    difference = float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3)))
    result: dict[str, Any] = {"case": case.name, "loss_difference": difference, "compile_seconds": compile_seconds}
    if not difference <= _GATE:
        print(f"{case.name:28} no speed: the losses of the first {_GATE_STEPS} steps differ by {difference:.1e}")
        return result
    size = recipe.batch_size or len(dataset.train)
    rates = timing.interleave(
        {"jax": run_jax, "torch": run_torch}, size, rounds=options.rounds, seconds=options.seconds
    )
    ratio = float(np.median(rates["jax"].values / rates["torch"].values))
    result |= {name: rate.quartiles for name, rate in rates.items()} | {"ratio": ratio}
    shown = "  ".join(
        f"{name} {q[1]:>9,.0f} [{q[0]:,.0f}-{q[2]:,.0f}]" for name, q in ((n, r.quartiles) for n, r in rates.items())
    )
    print(f"{case.name:28} {shown}  ratio {ratio:.2f}  compile {compile_seconds:.1f} s")
    return result


def describe() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "torch")},
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
