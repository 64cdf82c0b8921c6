"""A user's own port, named on the command line: pkg.mod:build for either model and for the batch."""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxnn.errors import UserError


def load(spec: str, flag: str) -> Any:
    """What ``pkg.mod:name`` names; the working directory counts as a place of modules. Raises UserError if it is
    not there or its module cannot be imported."""
    module, _, name = spec.partition(":")
    if not module or not name:
        raise UserError(f"{flag} {spec!r} must be MODULE:NAME, such as mypackage.models:build")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a user's module may fail in any way
        raise UserError(f"{flag}: module {module!r} cannot be imported: {_said(error)}") from error
    if not hasattr(found, name):
        raise UserError(f"{flag}: module {module!r} has no {name!r}")
    return getattr(found, name)


def build(spec: str, flag: str) -> Any:
    """What the function or class behind ``spec`` gives, called with nnx.Rngs(0) if it asks for one argument."""
    return _called(load(spec, flag), spec, flag)


def batch(spec: str) -> Any:
    """(inputs, targets), or a list of such pairs: the value behind ``spec``, or what the function there gives."""
    found = load(spec, "--batch")
    return _called(found, spec, "--batch") if callable(found) else found


def optimizer(text: str) -> tuple[str, dict[str, Any]]:
    """ "sgd" or "sgd(lr=0.1, momentum=0.9)" -> the name and the options, which are literals."""
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            return node.func.id, {str(option.arg): ast.literal_eval(option.value) for option in node.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # the last two for deep nesting
        pass
    raise UserError(f"--optimizer {text!r} must be a name of torch.optim, perhaps with options: 'sgd(lr=0.1)'")


def _called(found: Callable[..., Any], spec: str, flag: str) -> Any:
    if not callable(found):
        raise UserError(f"{flag}: {spec} is a {type(found).__name__}; name a function or a class that builds it")
    # A class of NNX hides its arguments behind its metaclass: look at __init__, whose first one is self.
    signature = inspect.signature(found.__init__ if isinstance(found, type) else found)
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(signature.parameters.values())[isinstance(found, type) :]
    required = [p for p in parameters if p.default is p.empty and p.kind in (*by_position, p.KEYWORD_ONLY)]
    try:
        if not required:
            return found()
        from flax import nnx

        named = required[0].kind is inspect.Parameter.KEYWORD_ONLY
        return found(**{required[0].name: nnx.Rngs(0)}) if named else found(nnx.Rngs(0))
    except Exception as error:
        raise UserError(f"{flag}: {spec} fails: {_said(error)}") from error


def _said(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
