"""Which checkpoint of a run is meant, and finding it in a run that another process trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from jaxnn.errors import UserError

Choice = int | Literal["newest", "best"]
"""After so many steps; the newest that can be read; that with the highest test accuracy of those kept."""

T = TypeVar("T")


def parse(text: str) -> Choice:
    """``text``: "newest", "best", or the number of a step. Raises UserError for anything else."""
    if text == "newest" or text == "best":
        return text
    if text.isdecimal() and len(text) < 19:  # of 64 bits
        return int(text)
    raise UserError(f"--checkpoint takes newest, best or the number of a step, but it is {text!r}")


def find(
    choice: Choice,
    folder: Path,
    *,
    steps: Callable[[], list[int]],
    best: Callable[[], int | None],
    read: Callable[[int], T],
    notice: Callable[[str], None],
) -> T | None:
    """What ``read`` makes of the step chosen; None if there is no checkpoint at all.

    ``steps``: those in ``folder`` now, ascending; ``best``: the best of them. A checkpoint that ``read`` raises
    UserError for is passed over in the search for the newest, as ``notice`` is told, but not if the process that
    trains has removed it meanwhile: there are newer ones. Raises UserError for a step that is not there, and if the
    one chosen, or all, cannot be read.
    """
    unread: set[int] = set()
    while there := [step for step in steps() if step not in unread]:
        step = there[-1] if choice == "newest" else best() if choice == "best" else choice
        if step is None:
            raise UserError(f"no checkpoint in {folder} was evaluated; name a step: {_listed(there)}")
        if choice == step and step not in there:
            raise UserError(f"{folder} has no checkpoint of step {step}; it has {_listed(there)}")
        try:
            return read(step)
        except UserError as error:
            if step not in steps():
                continue
            if choice != "newest":
                raise
            notice(f"{error}; going back to the one before it")
            unread.add(step)
    if unread:
        raise UserError(f"no checkpoint in {folder} can be read; train anew with --overwrite")
    return None


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps))
