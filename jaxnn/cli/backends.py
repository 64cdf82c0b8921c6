"""Training and evaluating in this process with JAX, or in a child process with PyTorch."""

import contextlib
import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from jaxnn.cli.console import TrainingDisplay
from jaxnn.data import Dataset
from jaxnn.errors import ChildError, Interrupted, UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir


def require(framework: Framework) -> None:
    """Raises UserError if ``framework`` is not installed."""
    if framework == "torch" and importlib.util.find_spec("torch") is None:
        raise UserError("--framework torch needs PyTorch, which is not installed: pip install 'jaxnn[torch]'")


def train(
    framework: Framework,
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    display: TrainingDisplay,
    *,
    resume: bool,
    checkpoint_every: int | None,
    memory_limit: int | None,
) -> dict[str, Any]:
    """Trains and returns the last row of metrics."""
    if framework == "torch":
        options = ["--resume"] * resume
        if checkpoint_every is not None:
            options += ["--checkpoint-every", str(checkpoint_every)]
        return _torch_process(["train", "--out", str(run.path), *options], recipe.to_json(), display)
    from jaxnn import loop

    with _stop_signals() as received:
        hooks = loop.Hooks(
            notice=display.notice, progress=display.progress, epoch=display.epoch, should_stop=lambda: bool(received)
        )
        try:
            return loop.train(
                recipe,
                dataset,
                run,
                resume=resume,
                checkpoint_every=checkpoint_every,
                memory_limit=memory_limit,
                hooks=hooks,
            )
        except Interrupted as stop:
            raise Interrupted(step=stop.step, signal=received[0]) from None


def evaluate(framework: Framework, recipe: Recipe, dataset: Dataset, run: RunDir, split: str) -> dict[str, Any]:
    """Loss, accuracies and confusion matrix of the run's newest checkpoint."""
    if framework == "torch":
        moved = [] if recipe.data_dir is None else ["--data-dir", recipe.data_dir]
        return _torch_process(["evaluate", "--run", str(run.path), "--split", split, *moved], "", None)
    from jaxnn import loop

    return loop.evaluate(recipe, dataset, run, split=split)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Inside, SIGINT and SIGTERM are noted in the list, for the loop to stop at its next pause; a second one kills."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _torch_process(arguments: list[str], stdin: str, display: TrainingDisplay | None) -> dict[str, Any]:
    """Runs ``python -m torchref`` and shows the events that it prints, a JSON object a line."""
    command = [sys.executable, "-m", "torchref", *arguments]
    # A session of its own: a terminal's Ctrl-C comes to this process alone, which passes it on once.
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as child,
        _forwarded_signals(child),
    ):
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(stdin)
        child.stdin.close()
        result: dict[str, Any] = {}
        message = "the PyTorch process ended without saying why"
        for line in child.stdout:
            event = json.loads(line)
            match event.pop("event"):
                case "result":
                    result = event
                case "error":
                    message = event["message"]
                case "notice":
                    message = event["text"]  # the last one says why, if a signal ends the child
                    if display:
                        display.notice(message)
                case "progress" if display:
                    display.progress(**event)
                case "epoch" if display:
                    display.epoch(event)
    if child.returncode:
        raise ChildError(message, child.returncode if child.returncode > 0 else 128 - child.returncode)
    return result


@contextlib.contextmanager
def _forwarded_signals(child: subprocess.Popen[str]) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM go to the child, which saves and ends; this process then ends with its code."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: child.send_signal(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
