"""What a run draws at random: initial weights, batch order, dropout masks."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Int64

from jaxnn.data.order import Batching
from jaxnn.dropout_sites import DropoutSite
from jaxnn.nn.initializers import Rngs
from jaxnn.recipe import Recipe
from jaxnn.torch_random import TorchGenerator

Masks = dict[DropoutSite, Bool[np.ndarray | jax.Array, "steps batch *shape"]]


@runtime_checkable
class Stream(Protocol):
    """A source of everything random in a run; ``state`` is taken between epochs."""

    @property
    def rngs(self) -> Rngs: ...

    def epoch_order(self, epoch: int, examples: int, *, shuffle: bool) -> Int64[np.ndarray, " examples"]: ...

    def masks(self, epoch: int, batches: Batching, sites: list[DropoutSite]) -> tuple[Masks, Masks]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class TorchStream:
    """The draws of a PyTorch script after torch.manual_seed(seed), in the order in which it makes them."""

    def __init__(self, seed: int) -> None:
        self.rngs = TorchGenerator(seed)

    def epoch_order(self, epoch: int, examples: int, *, shuffle: bool) -> Int64[np.ndarray, " examples"]:
        return self.rngs.epoch_order(examples, shuffle=shuffle)

    def masks(self, epoch: int, batches: Batching, sites: list[DropoutSite]) -> tuple[Masks, Masks]:
        """Masks for the full batches and for the tail: step after step, layer after layer."""
        full = [self.step_masks(batches.batch_size, sites) for _ in range(batches.full_steps)] if sites else []
        tail = [self.step_masks(batches.tail, sites)] if sites and batches.tail else []
        return _stacked(full, sites), _stacked(tail, sites)

    def step_masks(self, batch_size: int, sites: list[DropoutSite]) -> list[np.ndarray]:
        """The masks of one step."""
        masks = []
        for site in sites:
            *spatial, channels = site.shape
            mask = self.rngs.bernoulli((batch_size, channels, *spatial), 1 - site.rate)
            masks.append(np.moveaxis(mask, 1, -1))  # torch draws (N, C, H, W)
        return masks

    def state(self) -> dict[str, Any]:
        return self.rngs.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.rngs.restore(state)


class JaxStream:
    """JAX's own streams: every draw is a function of the seed and its place in the run."""

    def __init__(self, seed: int) -> None:
        self.rngs = nnx.Rngs(seed)
        self._order, self._masks = jax.random.split(jax.random.key(seed))

    def epoch_order(self, epoch: int, examples: int, *, shuffle: bool) -> Int64[np.ndarray, " examples"]:
        if not shuffle:
            return np.arange(examples)
        return np.asarray(jax.random.permutation(jax.random.fold_in(self._order, epoch), examples)).astype(np.int64)

    def masks(self, epoch: int, batches: Batching, sites: list[DropoutSite]) -> tuple[Masks, Masks]:
        key = jax.random.fold_in(self._masks, epoch)
        full, tail = {}, {}
        for number, site in enumerate(sites):
            keys = jax.random.split(jax.random.fold_in(key, number))
            full[site] = _bernoulli(keys[0], site, (batches.full_steps, batches.batch_size))
            tail[site] = _bernoulli(keys[1], site, (1, batches.tail))
        return full, tail

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        del state  # nothing to go back to: draws depend on the seed and the epoch alone


def build(recipe: Recipe) -> Stream:
    return TorchStream(recipe.seed) if recipe.rng == "torch" else JaxStream(recipe.seed)


def _stacked(steps: list[list[np.ndarray]], sites: list[DropoutSite]) -> Masks:
    return {site: np.stack([masks[i] for masks in steps]) for i, site in enumerate(sites)} if steps else {}


def _bernoulli(key: jax.Array, site: DropoutSite, batch: tuple[int, int]) -> jax.Array:
    return jax.random.bernoulli(key, jnp.float32(1 - site.rate), (*batch, *site.shape))
