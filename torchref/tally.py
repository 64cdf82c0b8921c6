"""The losses and correct predictions of the epoch so far."""

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

    def settle(self, epoch: int) -> None:
        """Moves the new values to the rest. Raises NonFiniteLossError for the first loss that is NaN or infinite."""
        if not self.new_losses:
            return
        self.losses = torch.cat([self.losses, torch.stack(self.new_losses).cpu().double()])
        self.correct = torch.cat([self.correct, torch.stack(self.new_correct).cpu()])
        self.new_losses.clear()
        self.new_correct.clear()
        bad = (~self.losses.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0])
            raise NonFiniteLossError(epoch=epoch, step=first + 1, loss=self.losses[first].item())

    def loss(self, *, batch_size: int, examples: int, summed: bool) -> float:
        """The mean loss of an example, over all settled steps; ``examples`` of them, in batches of ``batch_size``."""
        if summed:
            return self.losses.sum().item() / examples
        sizes = torch.full_like(self.losses, batch_size)
        sizes[-1] = examples - batch_size * (len(sizes) - 1)
        return torch.dot(self.losses, sizes).item() / examples
