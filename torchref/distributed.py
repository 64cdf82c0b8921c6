"""One run trained by several processes, as torchrun starts them: each computes its share of every batch."""

import contextlib
import datetime
import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jaxnn.data import UserError
from jaxnn.errors import Ended
from jaxnn.recipe import Recipe
from torchref import sync_batch_norm

_Value = TypeVar("_Value")

# A process that ends is noticed at once, by its closed connections; this is for one that hangs. The others may wait
# while the first writes a checkpoint.
_TIMEOUT = datetime.timedelta(minutes=5)
# Seconds in which gloo's threads let go of their last tensors, for which they need the interpreter's lock. Older torch
# (2.7) holds it while it waits for these threads to end: without a pause 3 of 10 pairs of processes hung.
_LET_GO = 0.2
# What gloo and NCCL say of a process that is gone or silent; torch gives gloo's errors no class of their own.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "imed out", "remote process exited")


@dataclass(frozen=True)
class Ranks:
    """The processes of a run: this one is number ``rank`` of ``size``. All have to make the same calls in the same
    order, but for ``share``; of a single process everything stays as it is."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run directory and speaks."""
        return self.rank == 0

    def share(self, examples: Tensor) -> Tensor:
        """This process's contiguous part of a batch, empty if the batch has fewer examples than there are processes."""
        return examples.tensor_split(self.size)[self.rank]

    def combine(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the losses, as DistributedDataParallel takes that of the gradients, and the sum of the counts."""
        if self.size == 1:
            return loss, correct
        both = torch.stack([loss.double() / self.size, correct.double()])
        dist.all_reduce(both)
        return both[0].to(loss.dtype), both[1].to(correct.dtype)

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))  # on the CPU, so that no step waits for the GPU's
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def gather(self, parts: list[Tensor]) -> Tensor:
        """All parts of all processes, one after the other; on the CPU, if there are several."""
        if self.size == 1:
            return torch.cat(parts)
        everyones: list[Any] = [None] * self.size
        dist.all_gather_object(everyones, [part.cpu() for part in parts])
        return torch.cat([part for others in everyones for part in others])

    def from_first(self, make: Callable[[], _Value]) -> _Value:
        """What ``make`` gives in the first process, in all of them; and the UserError that it raises there."""
        if self.size == 1:
            return make()
        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except UserError as error:
                made[1] = str(error)
        dist.broadcast_object_list(made)
        if made[1] is not None:
            raise UserError(made[1])
        return made[0]

    def in_turn(self, make: Callable[[], _Value]) -> _Value:
        """What ``make`` gives in each process: in the first, then in the others, which find what that one prepared.

        A UserError of any is raised in all.
        """
        if self.size == 1:
            return make()
        value: Any = None
        for turn in (self.first, not self.first):
            error, errors = None, [None] * self.size
            if turn:
                try:
                    value = make()
                except UserError as raised:
                    error = str(raised)
            dist.all_gather_object(errors, error)
            found = next((each for each in errors if each is not None), None)
            if found is not None:
                raise UserError(found)
        return value

    def share_buffers(self, model: nn.Module) -> None:
        """Gives all processes the buffers of the first, as DistributedDataParallel does before each forward pass."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def parallel(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """``model``, whose BatchNorms become those that the recipe asks for, to be called in training.

        All start from the parameters and buffers of the first process; backward passes average the gradients.
        """
        if self.size == 1:
            return model
        if recipe.batch_norm == "global":
            sync_batch_norm.convert(model)
        return DistributedDataParallel(model)

    def require_shares(self, model: nn.Module, recipe: Recipe, smallest: int) -> None:
        """Raises UserError if a process would have no example of a batch of ``smallest`` to take statistics of."""
        norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
        if norms and recipe.batch_norm == "local" and smallest < self.size:
            raise UserError(
                f"batch_norm 'local' needs an example for each of the {self.size} processes, but an epoch has a batch "
                f"of {smallest}; choose another batch_size, drop_last, or batch_norm 'global'"
            )


ALONE = Ranks()


def is_follower() -> bool:
    """Whether torchrun started this process and it is not the first, which alone speaks."""
    return launched() > 1 and int(os.environ["RANK"]) > 0


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Inside, this process works with those that torchrun started with it: by NCCL on GPUs, one each, else by gloo.

    Raises UserError if there are fewer GPUs than processes, and Ended if another process is lost.
    """
    if launched() == 1:
        yield ALONE
        return
    # Its functions have the group of the moment as a default argument: imported later, as DistributedDataParallel does,
    # it keeps the group, whose threads of gloo then run while Python finalizes, and now and then abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    backend = "gloo"
    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(f"each process needs a GPU of its own, and there are {gpus}; use --nproc-per-node {gpus}")
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=_TIMEOUT)
        yield Ranks(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(words in str(error) for words in _LOST):
            raise
        why = str(error).strip().splitlines()[0]
        raise Ended(f"another process of this training ended or hangs, so this one cannot go on ({why})", 1) from error
    finally:
        if dist.is_initialized():
            time.sleep(_LET_GO)
            dist.destroy_process_group()


def launched() -> int:
    """The number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ and "MASTER_ADDR" in os.environ else 1
