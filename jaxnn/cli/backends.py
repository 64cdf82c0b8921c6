"""Training and evaluating in this process with JAX, or in a child process with PyTorch."""

import importlib.util
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn import compilation_cache, course, threads, together
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.cli import torch_process
from jaxnn.cli.console import TrainingDisplay
from jaxnn.cli.event_log import EventLog
from jaxnn.data import Dataset
from jaxnn.errors import Ended, Interrupted, NonFiniteLossError, UserError
from jaxnn.mesh_shape import MeshShape
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir
from jaxnn.together import Job

Outcome = dict[str, Any] | NonFiniteLossError | Ended
"""The last row of metrics of a run, or why it stopped alone."""


def require(framework: Framework, recipe: Recipe) -> None:
    """Raises UserError if ``framework`` is not installed, or cannot run the recipe."""
    if framework == "torch" and recipe.rng == "jax":
        raise UserError("--rng jax names JAX's own random streams, which --framework torch does not have")
    _require_installed(framework)


def _require_installed(framework: Framework) -> None:
    if framework == "torch" and importlib.util.find_spec("torch") is None:
        raise UserError("--framework torch needs PyTorch, which is not installed: pip install 'jaxnn[torch]'")


def train(
    framework: Framework,
    jobs: Sequence[Job],
    display: TrainingDisplay,
    event_log: EventLog | None,
    received: list[int],
    *,
    resume: bool,
    policy: CheckpointPolicy,
    memory_limit: int | None,
    mesh: MeshShape | None = None,
) -> list[Outcome]:
    """Trains ``jobs`` together (in PyTorch one job) and returns the last row of metrics of each, or why it stopped.

    ``received``: the signals of jaxnn.cli.signals.noted, at which training saves and ends. Raises Ended from
    Interrupted then.
    """
    if framework == "torch":
        [job] = jobs
        every = str(policy.steps) if policy.steps else f"{policy.seconds}s"
        options = ["--checkpoint-every", every, "--keep-checkpoints", str(policy.keep), *["--resume"] * resume]
        try:
            arguments = ["train", "--out", str(job.run.path), *options]
            record = None if event_log is None else event_log.of_pytorch(job)
            training = torch_process.Training(job, display, record, received, resume)
            return [torch_process.run(arguments, display.notice, training=training)]
        except Ended as failed:
            if failed.code != 1:
                raise
            return [failed]
    from jaxnn import hosts, loop

    with hosts.depending():
        hooks = loop.Hooks(
            notice=display.notice,
            progress=display.progress,
            epoch=display.epoch,
            should_stop=lambda: bool(received) or display.closed,
            **({} if event_log is None else {"started": event_log.started, "measured": event_log.measured}),
        )
        try:
            outcomes = loop.train_together(
                jobs,
                resume=resume,
                policy=policy,
                memory_limit=memory_limit,
                mesh=mesh,
                hooks=hooks,
            )
        except Interrupted as stop:
            unasked = signal.SIGTERM if hosts.many() else signal.SIGPIPE  # another process was, or the reader has gone
            raise Ended(stop, 128 + (received[0] if received else unasked)) from stop
    return list(outcomes)


def groups(
    framework: Framework, jobs: Sequence[Job], memory_limit: int | None, *, mesh: MeshShape | None = None
) -> list[list[Job]]:
    """What ``train`` can take at once, and is faster so than one after another. Chooses JAX's threads."""
    if framework == "torch":
        return [[job] for job in jobs]
    found = together.groups(jobs)
    runs = max(1 if together.keeps_a_cpu_busy(group[0]) else len(group) for group in found)
    if mesh is None:
        threads.choose(jobs[0].recipe, jobs[0].dataset, runs=runs)
    compilation_cache.choose()
    from jaxnn import experiment

    return [
        part
        for group in found
        for part in ([group] if experiment.pays_together(group, memory_limit) else [[job] for job in group])
    ]


def evaluate(
    framework: Framework,
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    split: str,
    notice: Callable[[str], None],
    *,
    checkpoint: Choice = "newest",
) -> dict[str, Any]:
    """Loss, accuracies and confusion matrix of the run's checkpoint chosen."""
    if framework == "torch":
        moved = [] if recipe.data_dir is None else ["--data-dir", recipe.data_dir]
        return torch_process.run(["evaluate", *_of(run, checkpoint), "--split", split, *moved], notice)
    threads.choose(recipe, dataset)  # as in training: other threads would add in another order
    compilation_cache.choose()
    from jaxnn import loop

    return loop.evaluate(recipe, dataset, run, split=split, checkpoint=checkpoint, notice=notice)


def predict(
    framework: Framework,
    run: RunDir,
    images: Sequence[Path],
    inputs: np.ndarray,
    notice: Callable[[str], None],
    *,
    checkpoint: Choice = "newest",
) -> np.ndarray:
    """The outputs of the run's checkpoint chosen, (images, outputs), for the files ``images``, read as ``inputs``."""
    if framework == "torch":
        paths = [str(path.resolve()) for path in images]  # none looks like an option
        return np.array(torch_process.run(["predict", *_of(run, checkpoint), *paths], notice)["outputs"])
    compilation_cache.choose()
    from jaxnn import prediction

    return prediction.predict(run, inputs, checkpoint=checkpoint, notice=notice)


def outputs(framework: Framework, run: RunDir, inputs: np.ndarray, notice: Callable[[str], None]) -> np.ndarray:
    """The outputs of the run's newest checkpoint, (examples, outputs), for images or rows as its model takes them."""
    if framework == "torch":
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "inputs.npy", inputs)
            torch_process.run(["predict", *_of(run, "newest"), "--folder", folder], notice)
            return np.load(Path(folder) / "outputs.npy")
    compilation_cache.choose()
    from jaxnn import prediction

    return prediction.predict(run, inputs, notice=notice)


def weights(framework: Framework, recipe: Recipe, run: RunDir, notice: Callable[[str], None]) -> dict[str, np.ndarray]:
    """The state_dict of the run's newest checkpoint, in PyTorch's order, names and layout."""
    compilation_cache.choose()
    from jaxnn.interop import export_run

    return export_run.weights_of(run, recipe, framework, notice)


def export_torch(
    run: RunDir, folder: Path, notice: Callable[[str], None], *, checkpoint: Choice, layout: str, opset: int
) -> None:
    """Has PyTorch write a run's model and what it computes for ``folder``/inputs.npy; see torchref.export."""
    options = ["--layout", layout, "--opset", str(opset)]
    torch_process.run(["export", *_of(run, checkpoint), "--folder", str(folder), *options], notice)


def lesson(framework: Framework, name: str, seed: int) -> course.Lesson:
    """What the lesson ``name`` finds out. Raises UserError if ``framework`` is not installed."""
    if framework == "torch":
        _require_installed(framework)
        found = torch_process.run(["lesson", name, "--seed", str(seed)])
        return course.lesson(found["numbers"], found["words"])
    compilation_cache.choose()
    import jax

    from jaxnn import lessons

    with jax.enable_x64(True):
        return lessons.run(name, seed=seed)


def torch_facts() -> dict[str, Any]:
    """What PyTorch says of itself and its devices; see torchref.environment. Raises Ended if it cannot start."""
    return torch_process.run(["environment"], errors=subprocess.DEVNULL)


def _of(run: RunDir, checkpoint: Choice) -> list[str]:
    return ["--run", str(run.path), "--checkpoint", str(checkpoint)]
