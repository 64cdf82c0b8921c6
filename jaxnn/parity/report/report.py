"""The outcome of a comparison: every entry, where the two first differ, and why."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxnn.errors import UserError
from jaxnn.files import write_atomically

Level = Literal[
    "weights", "init", "forward", "buffers", "loss", "gradients", "optimizer", "trajectory", "accuracy", "state"
]
"""In the order in which they are compared: ``first_divergence`` is the first failure in it."""


class ParityError(AssertionError):
    """Two implementations that should compute the same do not; the message is the report's table."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One comparison: the largest difference of a tensor, as a share of the scale stated in the tolerances.

    ``torch_name``: a layer (its ``what`` is "input" or "output") or a key of state_dict. A layer's failing
    input means that what lies between it and the layer before differs. ``alone``: whether the layer was fed
    the reference's input, or the optimizer the reference's gradients. ``step``: from 1, the first beyond
    tolerance, else that of the largest error; None outside of training. ``errors`` and ``tolerances``: those of
    each step. ``advisory``: whether a difference is said and does not fail.
    """

    level: Level
    torch_name: str
    nnx_path: str
    what: str
    error: float
    tolerance: float
    alone: bool = False
    step: int | None = None
    note: str = ""
    advisory: bool = False
    errors: tuple[float, ...] = ()
    tolerances: tuple[float, ...] = ()

    @property
    def within(self) -> bool:
        return self.error <= self.tolerance  # not so for NaN

    @property
    def failed(self) -> bool:
        return not self.within and not self.advisory


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A likely cause: its name, what in the numbers speaks for it, and what to change."""

    cause: str
    evidence: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a comparison found; ``entries`` in the order of the levels, of calls and of steps.

    ``layers``: name, kind, path of each layer in the order of calls. ``about``: framework versions, precision,
    mode, loss, optimizer, steps. ``notes``: what was not compared, and why.
    """

    title: str
    entries: tuple[Entry, ...]
    diagnoses: tuple[Diagnosis, ...] = ()
    layers: tuple[dict[str, str], ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is within tolerance (and something was)."""
        return bool(self.entries) and self.first_divergence is None

    @property
    def first_divergence(self) -> Entry | None:
        """The first failure in the order of computation: layers before their loss, step 1 before step 2."""
        return next((entry for entry in self.entries if entry.failed), None)

    @property
    def parts_in_training_alone(self) -> bool:
        """Whether all that fails is a training's course, although each update of the optimizer is right."""
        return {entry.level for entry in self.entries if entry.failed} == {"trajectory"}

    def table(self, *, width: int = 100) -> str:
        """The report as text of ``width`` columns: the verdict, what differs first, why, the worst of each level."""
        from jaxnn.parity.report import table

        return table.render(self, width=width)

    def raise_if_failed(self) -> None:
        """Raises ParityError with the table unless the report is ``ok``."""
        if not self.ok:
            raise ParityError(self.table())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report, whole or not at all: FILE.json to be read again, FILE.html to be looked at.

        Raises UserError for another suffix or a folder that is not there, OSError for one that cannot be written.
        """
        path = Path(path)
        content = self._content(path.suffix)
        if content is None:
            raise UserError(f"a report is saved as FILE.json or FILE.html, not as {path}")
        if not path.parent.is_dir():
            raise UserError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file")
        write_atomically(path, content.encode(errors="replace"))

    def _content(self, suffix: str) -> str | None:
        from jaxnn.parity.report import document, page

        match suffix.lower():
            case ".json":
                return document.text(document.of_report(self))
            case ".html":
                return page.render(self)
        return None

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Report":
        """The report that ``save`` wrote to FILE.json, equal to it. Raises UserError if it is missing or damaged."""
        from jaxnn.parity.report import document

        return document.read_report(Path(path))
