"""What holds for all cases of a run."""

from dataclasses import dataclass

from jaxnn.errors import UserError
from jaxnn.recipe import Precision

from .rivals import REFERENCE, RIVALS

GATE_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``threads``: of either framework. ``seconds``: of each measurement. PyTorch eager is always among the rivals."""

    threads: int
    rounds: int = 7
    seconds: float = 0.25
    precision: Precision = "float32"
    tf32: bool = False
    rivals: tuple[str, ...] = tuple(RIVALS)

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "seconds"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name} must be above 0, but it is {getattr(self, name)}")
        for rival in self.rivals:
            if rival not in RIVALS:
                raise UserError(f"there is no rival {rival!r}; choose from {', '.join(RIVALS)}")
        if REFERENCE not in self.rivals:
            object.__setattr__(self, "rivals", (REFERENCE, *self.rivals))
