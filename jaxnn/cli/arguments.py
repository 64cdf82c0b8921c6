"""Reading a command's arguments: tyro, with its error panels turned into one sentence."""

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Iterable
from typing import TypeVar

import tyro

from jaxnn.errors import UserError

T = TypeVar("T")


def parse(options: type[T], argv: list[str], *, prog: str, default: T | None = None) -> T:
    """``argv`` as ``options``. Prints and exits for --help; raises UserError for anything wrong."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed = tyro.cli(options, args=argv, prog=prog, default=default, config=(tyro.conf.AvoidSubcommands,))
    except SystemExit as exit:
        if exit.code in (0, None):
            raise
        raise UserError(_one_sentence(errors.getvalue())) from exit
    sys.stderr.write(errors.getvalue())  # warnings
    assert parsed is not None
    return parsed


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say after an unknown name."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"


def value_of(flag: str, argv: list[str]) -> str | None:
    """The value of ``--flag VALUE`` or ``--flag=VALUE``, read before the full parse; None if it is not there."""
    for i, argument in enumerate(argv):
        if argument == flag and i + 1 < len(argv):
            return argv[i + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def has(flag: str, argv: list[str]) -> bool:
    return any(argument == flag or argument.startswith(f"{flag}=") for argument in argv)


def _one_sentence(panel: str) -> str:
    """The message of tyro's panel: what is wrong, and the option it thinks was meant."""
    lines = [re.sub(r"^[│|╭╰+]\s?|\s*[│|╮╯+]$", "", line).strip() for line in panel.splitlines()]
    is_rule = [set(line) <= set("─- ") for line in lines]
    # The title, perhaps a rule below it (tyro's panels without Unicode), the message, a rule, the rest.
    start = 2 if is_rule[1:2] == [True] else 1
    stop = next((i for i in range(start, len(lines)) if is_rule[i]), len(lines))
    message = " ".join(lines[start:stop])
    meant = re.search(r"Perhaps you meant:?\s+(--[\w.-]+)", " ".join(lines))
    message = re.sub(r"^Error parsing (--[\w.-]+): .* from \['(.*?)'\]\..*", r"\1 cannot be '\2'", message)
    message = re.sub(r"^Error parsing [\w.]+: (?=[a-z_.]+ (must|has|needs) )", "", message)
    return message.rstrip(".") + (f"; did you mean {meant[1]}?" if meant else "; see --help")
