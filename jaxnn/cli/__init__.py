"""The command line: the only room that prints, draws progress and ends the process.

Exit codes: 0 done, 1 a comparison or check failed, 2 bad input or use (one sentence on standard
error), 130 and 143 interrupted.
"""

import importlib
import keyword
import os
import signal
import sys

from jaxnn.cli.arguments import nearest
from jaxnn.errors import Ended, NonFiniteLossError, UserError, printable
from jaxnn.files import require_utf8

_COMMANDS = {
    "recipes": "list the recipes: data set, model, expected accuracy",
    "model": "the network of a recipe or a run as print(net) shows it, its shapes and parameters",
    "train": "train a recipe, in JAX or (--framework torch) in PyTorch",
    "launch": "train in several processes on this machine, as on so many hosts",
    "evaluate": "loss, accuracies and confusion matrix of a trained run",
    "report": "curves, confusion, mistakes and filters of one or several runs, as one HTML page",
    "predict": "class and probabilities of your own pictures, by a trained run",
    "export": "write a trained model for PyTorch, ONNX or StableHLO, and check that it computes the same",
    "import": "make a run of PyTorch's weights, to evaluate, export or train on",
    "parity": "compare JAX with PyTorch: recipes, your own port, or two recordings",
    "bench": "measure against PyTorch and a plain flax loop; withheld where they do not agree",
    "lesson": "worked examples: what the documents show, step by step",
    "doctor": "versions, devices, precision, threads, caches and data of this machine, and the traps in them",
    "data": "list, fetch, check, show or pack data sets",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    code = _run(sys.argv[1:] if argv is None else argv)
    hosts = sys.modules.get("jaxnn.hosts")
    if code and hosts is not None:
        hosts.leave(code)
    return code


def _run(argv: list[str]) -> int:
    try:
        return _dispatch(argv)
    except UserError as error:
        return _fail(error, 2)
    except NonFiniteLossError as error:
        return _fail(error, 1)
    except Ended as error:
        return _fail(error, error.code)
    except KeyboardInterrupt as stop:
        return _fail("interrupted", 128 + (stop.args[0] if stop.args else signal.SIGINT))
    except BrokenPipeError:  # the reader of a pipe has gone: end as a program without a handler would
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except MemoryError:
        return _fail("there is not enough memory for this; use a smaller data set, model or --batch-size", 2)
    except OSError as error:  # a full disk, a folder that vanished, a name that is too long
        return _fail(f"{error.filename or 'writing'}: {error.strerror or error}", 2)


def _dispatch(argv: list[str]) -> int:
    for word in argv:
        require_utf8(word)
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] == "--version":
        from jaxnn import __version__

        print(__version__)
        return 0
    command, *rest = argv
    if command not in _COMMANDS:
        raise UserError(f"there is no command {command!r}; {nearest(command, _COMMANDS)}")
    module = f"{command}_" if keyword.iskeyword(command) else command
    return importlib.import_module(f"jaxnn.cli.{module}").run(rest)


def _help() -> str:
    width = max(map(len, _COMMANDS)) + 2
    lines = [f"  {name:<{width}}{about}" for name, about in _COMMANDS.items()]
    return "\n".join(
        ["usage: jaxnn COMMAND ...", "", *lines, "", "`jaxnn COMMAND --help` lists the options of a command."]
    )


def _fail(error: object, code: int) -> int:
    print(printable(f"jaxnn: {error}"), file=sys.stderr)
    return code
