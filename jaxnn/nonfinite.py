"""Why a loss became NaN or infinite: the run is taken again from its newest checkpoint to the first bad tensor."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxnn import bad_batch, experiment
from jaxnn.errors import NonFiniteLossError
from jaxnn.experiment import EpochPart, Experiment
from jaxnn.interop import initial_weights
from jaxnn.lane import Lane
from jaxnn.mesh_shape import MeshShape
from jaxnn.precision import Dtypes
from jaxnn.step import TrainState
from jaxnn.together import Job


class _Step(NamedTuple):
    epoch: int
    part: EpochPart
    row: int  # of the part

    @property
    def number(self) -> int:
        """In its epoch, from 1."""
        return self.part.first + self.row + 1


def explain(
    job: Job, failed: Lane, dtypes: Dtypes, mesh: MeshShape, *, memory_limit: int | None = None
) -> NonFiniteLossError:
    """The failure of a lane with its cause, if it comes again; its batch is then kept (``jaxnn.bad_batch``).

    It is taken again on one device, as those of ``mesh`` have computed it.
    """
    error = failed.failure
    assert error is not None
    member = experiment.member(job.recipe, job.dataset, dtypes, mesh)
    if job.recipe.weights is not None and not failed.checkpoints.steps:
        initial_weights.load(member.model, job.recipe, lambda text: None)
    lane = Lane(member, job.run, failed.checkpoints, dtypes, filler=True)
    lane.rewind(lambda text: None)
    ready = experiment.join([member], dtypes, memory_limit=memory_limit)
    state, record = ready.start([lane.state]), None
    end = (error.epoch - 1) * member.batches.steps + error.step
    for step in _steps(ready, lane, end):
        if step.row == 0 or record is None:
            record = experiment.empty_record(len(step.part.examples), dtypes)
        watched = (step.epoch - 1) * member.batches.steps + step.number >= end - 1
        found = _first_bad(_observed(ready, state, step)) if watched else None
        state, record = ready.advance(state, record, step.part, step.row, step.row + 1)
        if watched and found is None:
            found = _first_bad(_updated(state))
        if found is not None:
            return error.because(_kept(ready, job, state, step, found))
    return error


def _steps(ready: Experiment, lane: Lane, end: int) -> Iterator[_Step]:
    """Those from where ``lane`` is to the first ``end`` of the run."""
    rows = {row["epoch"]: row for row in lane.run.read_metrics()}
    done, epoch = lane.position.done, lane.position.epoch
    while (epoch - 1) * ready.batches.steps + done < end:
        parts, _ = ready.epoch_parts(epoch)
        for part in parts:
            for row in range(max(done - part.first, 0), len(part.examples)):
                if (epoch - 1) * ready.batches.steps + part.first + row < end:
                    yield _Step(epoch, part, row)
        if epoch in rows:
            lane.member.schedule.end_epoch(rows[epoch])
        done, epoch = 0, epoch + 1


def _observed(ready: Experiment, state: TrainState, step: _Step) -> Iterator[tuple[str, Array]]:
    split = next(ready.train.each_step(step.part.examples[step.row : step.row + 1]))
    return ready.program.observe_step(state, split, step.part.segment, jnp.asarray(step.row))


def _updated(state: TrainState) -> Iterator[tuple[str, Any]]:
    """Weights and running statistics."""
    for tree in (state.params, state.buffers):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            yield f"the updated {jax.tree_util.keystr(path, simple=True, separator='.')}", leaf


def _first_bad(tensors: Iterator[tuple[str, Any]]) -> str | None:
    return bad_batch.first_bad((name, str(tensor.dtype), np.asarray(tensor)) for name, tensor in tensors)


def _kept(ready: Experiment, job: Job, state: TrainState, step: _Step, found: str) -> str:
    examples = step.part.examples[step.row]
    inputs = np.asarray(next(tensor for name, tensor in _observed(ready, state, step) if name == "the inputs"))
    labels = job.dataset.train.labels[examples]
    return bad_batch.keep(
        job.run, found, epoch=step.epoch, step=step.number, inputs=inputs, labels=labels, examples=examples
    )
