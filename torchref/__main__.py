"""The child process of `jaxnn train --framework torch`, of `evaluate`, `predict` and `export` on such a run,
and of `lesson --framework torch` and `doctor`.

    python -m torchref train --out PATH [--resume] [--checkpoint-every N] < recipe.json
    torchrun --nproc-per-node N -m torchref train --out PATH [...] --recipe recipe.json | --resume
    python -m torchref evaluate --run PATH [--checkpoint newest] [--split test] [--data-dir DIR]
    python -m torchref predict --run PATH [--checkpoint newest] IMAGE... | --folder DIR
    python -m torchref export --run PATH [--checkpoint newest] --folder DIR [--layout nchw] [--opset 18]
    python -m torchref lesson NAME [--seed S]
    python -m torchref environment

Prints one JSON object a line: {"event": "ready" | "notice" | "progress" | "epoch" | "result" | "error", ...}; of
several processes the first. Exit codes: 0 done, 1 a loss was not finite or another process was lost, 2 bad input, 130
and 143 interrupted.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic_core import from_json

from jaxnn import checkpoint_choice, course, data
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import pictures
from jaxnn.errors import Ended, UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Interrupted, NonFiniteLossError, RunDir
from torchref import distributed, environment, lessons
from torchref.evaluate import evaluate
from torchref.export import export
from torchref.loop import train
from torchref.precision import device
from torchref.prediction import predict


class _Signaled(BaseException):
    """A signal came where there is nothing to save, or one too many."""


class _Signals:
    """Turns SIGINT and SIGTERM into a request while training, and into _Signaled before it or at the third one.

    The second may come while the loop saves.
    """

    def __init__(self) -> None:
        self.training = False
        self._received: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        self._received.append(number)
        if len(self._received) > 2 or not self.training:
            raise _Signaled

    def should_stop(self) -> bool:
        return bool(self._received)

    @property
    def exit_code(self) -> int:
        """Without a signal, another process of the run was asked to stop."""
        return 128 + (self._received[0] if self._received else signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    signals = _Signals()
    if options.command == "train" and distributed.is_follower():
        sys.stdout = open(os.devnull, "w")  # the first process says it all
    try:
        if options.command == "train":
            _train(options, signals)
        elif options.command == "evaluate":
            _evaluate(options)
        elif options.command == "predict":
            _predict(options)
        elif options.command == "export":
            _export(options)
        elif options.command == "lesson":
            _lesson(options)
        else:
            _emit("result", **environment.facts(device()))
        return 0
    except BrokenPipeError:  # nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UserError as error:
        _emit("error", code=2, message=str(error))
        return 2
    except OSError as error:  # a full disk, a vanished folder
        _emit("error", code=2, message=f"{error.filename or 'writing'}: {error.strerror or error}")
        return 2
    except NonFiniteLossError as error:
        _emit("error", code=1, message=str(error))
        return 1
    except Ended as end:
        _emit("error", code=end.code, message=str(end))
        if distributed.is_follower():  # the first process may be the lost one
            print(end, file=sys.stderr)
        return end.code
    except Interrupted as stop:
        _emit("error", code=signals.exit_code, message=str(stop), step=stop.step)
        return signals.exit_code
    except _Signaled:
        message = str(Interrupted(options.out)) if signals.training else "interrupted"
        _emit("error", code=signals.exit_code, message=message)
        return signals.exit_code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m torchref")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train the recipe on standard input, or in a file")
    training.add_argument(
        "--recipe", type=Path, help="a file of it, a run's too: torchrun gives its processes no input"
    )
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--resume", action="store_true")
    training.add_argument("--checkpoint-every", metavar="STEPS|SECONDSs")
    training.add_argument("--keep-checkpoints", type=int, default=CheckpointPolicy.keep)
    evaluation = commands.add_parser("evaluate", help="measure a checkpoint of a run")
    evaluation.add_argument("--run", type=Path, required=True)
    evaluation.add_argument("--split", choices=("train", "test"), default="test")
    evaluation.add_argument("--data-dir", help="where the data are now, if they have moved")
    prediction = commands.add_parser("predict", help="the outputs of a checkpoint of a run for image files")
    prediction.add_argument("--run", type=Path, required=True)
    prediction.add_argument("images", type=Path, nargs="*")
    prediction.add_argument("--folder", type=Path, help="has inputs.npy, used instead; gets outputs.npy")
    exporting = commands.add_parser("export", help="write a checkpoint of a run as an ONNX file")
    exporting.add_argument("--run", type=Path, required=True)
    exporting.add_argument("--folder", type=Path, required=True, help="has inputs.npy; gets model.onnx, outputs.npz")
    exporting.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw")
    exporting.add_argument("--opset", type=int, default=18)
    for reading in (evaluation, prediction, exporting):
        reading.add_argument("--checkpoint", type=checkpoint_choice.parse, default="newest", metavar="newest|best|STEP")
    learning = commands.add_parser("lesson", help="a worked example")
    learning.add_argument("name", choices=course.LESSONS)
    learning.add_argument("--seed", type=int, default=420)
    commands.add_parser("environment", help="versions, devices, threads, precision flags")
    return parser.parse_args(arguments)


def _train(options: argparse.Namespace, signals: _Signals) -> None:
    with distributed.joined() as ranks:
        recipe = ranks.in_turn(lambda: _read(options))
        dataset = ranks.in_turn(lambda: data.load_for(recipe))
        signals.training = True
        _emit("ready")  # from now on a signal saves before it ends
        row = train(
            recipe,
            dataset,
            RunDir(options.out),
            resume=options.resume,
            policy=CheckpointPolicy.parse(options.checkpoint_every, options.keep_checkpoints),
            on_notice=_notice,
            on_progress=lambda **fields: _emit("progress", **fields),
            on_epoch=lambda row: _emit("epoch", **row),
            should_stop=signals.should_stop,
            ranks=ranks,
        )
        _emit("result", **row)


def _read(options: argparse.Namespace) -> Recipe:
    """The recipe to train: of --recipe, of the run that goes on, or of standard input."""
    if options.recipe is not None:
        return _read_file(options.recipe)
    if distributed.launched() == 1:
        return Recipe.from_json(sys.stdin.read(), where="the recipe on standard input")
    if options.resume:
        return _trained(options.out)[1]
    raise UserError("the processes of torchrun get no standard input; name the recipe's file with --recipe")


def _read_file(file: Path) -> Recipe:
    """A recipe alone, or with the framework beside it, as a run keeps it: here that is PyTorch whatever it says."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UserError(f"--recipe {file}: {error.strerror}") from error
    with contextlib.suppress(ValueError):  # no JSON: said below
        document = from_json(text)
        if isinstance(document, dict) and document.pop("framework", None) is not None:
            text = json.dumps(document)
    return Recipe.from_json(text, where=str(file))


def _evaluate(options: argparse.Namespace) -> None:
    run, recipe = _trained(options.run)
    if options.data_dir is not None:
        recipe = recipe.replace(data_dir=options.data_dir)
    dataset = data.load_for(recipe)
    _emit("result", **evaluate(recipe, dataset, run, options.split, choice=options.checkpoint, on_notice=_notice))


def _predict(options: argparse.Namespace) -> None:
    run, recipe = _trained(options.run)
    if options.folder is not None:
        inputs = np.load(options.folder / "inputs.npy")
        outputs = predict(run, inputs, choice=options.checkpoint, on_notice=_notice)
        np.save(options.folder / "outputs.npy", outputs)
        _emit("result")
        return
    known = run.trained_on()
    given = pictures.read(options.images, recipe.input, shape=known.input_shape, trained_on=known.name)
    outputs = predict(run, given.inputs, choice=options.checkpoint, on_notice=_notice)
    _emit("result", outputs=outputs.tolist())


def _export(options: argparse.Namespace) -> None:
    run, recipe = _trained(options.run)
    export(
        recipe,
        run,
        options.folder,
        layout=options.layout,
        opset=options.opset,
        choice=options.checkpoint,
        on_notice=_notice,
    )
    _emit("result")


def _lesson(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # small work: threads that wait for each other cost more than they give
    found = lessons.run(options.name, seed=options.seed)
    _emit("result", numbers={name: value.tolist() for name, value in found.numbers.items()}, words=found.words)


def _trained(path: Path) -> tuple[RunDir, Recipe]:
    run = RunDir(path)
    recipe, framework = run.read_recipe()
    if framework != "torch":
        raise UserError(f"{path} was trained with --framework {framework}, whose checkpoints PyTorch cannot read")
    return run, recipe


def _notice(text: str) -> None:
    _emit("notice", text=text)


def _emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event} | fields), flush=True)


if __name__ == "__main__":
    sys.exit(main())
