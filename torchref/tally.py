"""The losses and correct predictions of the epoch so far."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jaxnn.run_dir import NonFiniteLossError


@dataclass(kw_only=True)
class Tally:
    """One loss and one count of correct predictions a step, in order.

    Steps ``add`` what they compute without waiting for the device; ``settle`` fetches it.
    """

    losses: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    correct: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    new_losses: list[Tensor] = field(default_factory=list)
    new_correct: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, correct: Tensor) -> None:
        self.new_losses.append(loss)
        self.new_correct.append(correct)

    def settle(self, epoch: int, *, skips: bool = False) -> None:
        """Moves the new values to the rest. Raises NonFiniteLossError for the first new loss that is NaN or infinite.

        ``skips``: NaN stands for a step that was skipped.
        """
        if not self.new_losses:
            return
        settled = len(self.losses)
        self.losses = torch.cat([self.losses, torch.stack(self.new_losses).cpu().double()])
        self.correct = torch.cat([self.correct, torch.stack(self.new_correct).cpu()])
        self.new_losses.clear()
        self.new_correct.clear()
        bad = (~self.losses[settled:].isfinite()).nonzero()
        if len(bad) and not skips:
            first = settled + int(bad[0])
            raise NonFiniteLossError(epoch=epoch, step=first + 1, loss=self.losses[first].item())

    @property
    def skipped(self) -> int:
        """How many settled steps were skipped."""
        return int(self.losses.isnan().sum())

    def measured(self, *, batch_size: int, examples: int, summed: bool) -> tuple[float, float]:
        """Mean loss and accuracy of an example over the settled steps that were not skipped; NaN if all were.

        ``examples``: those of all settled steps, in batches of ``batch_size``.
        """
        sizes = torch.full_like(self.losses, batch_size)
        sizes[-1] = examples - batch_size * (len(sizes) - 1)
        kept = ~self.losses.isnan()
        losses, sizes = self.losses[kept], sizes[kept]
        total = sizes.sum().item()
        loss = losses.sum() if summed else torch.dot(losses, sizes)
        return (loss.item() / total, self.correct.sum().item() / total) if total else (math.nan, math.nan)
