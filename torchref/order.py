"""The batches of an epoch as torch.utils.data.DataLoader draws them, without its loading of single examples."""

import torch
from torch import Tensor
from torch.utils.data import RandomSampler, SequentialSampler


def draw(
    examples: int, *, batch_size: int, shuffle: bool, drop_last: bool, device: torch.device | None = None
) -> tuple[Tensor, ...]:
    """The example numbers of each batch of the next epoch, drawn from torch's default generator.

    Iterating over DataLoader(dataset, batch_size, shuffle, drop_last=drop_last) in the main process
    gives the same batches and leaves the generator in the same state.
    """
    torch.empty((), dtype=torch.int64).random_()  # the workers' base seed, which DataLoader draws without workers too
    sampler = RandomSampler(range(examples)) if shuffle else SequentialSampler(range(examples))
    batches = torch.tensor(list(sampler), device=device).split(batch_size)
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches
