"""What XLA cannot divide along the batch by itself, when a program is divided among several devices."""

from collections.abc import Callable

import jax
from jax import Array

divided = jax.make_user_context(None)
"""``with divided(sharding)``: layers traced inside are given batches of that jax.sharding.NamedSharding.

Of a function that it may not inline, of products of transposed patches and of the gradient of a maximum over windows
XLA has every device compute the whole batch.
"""


def by_shares(function: Callable[[Array], Array], x: Array) -> Array:
    """``function`` of a batch, whose examples do not depend on each other, by each device on its own share.

    Of an uneven batch as XLA does it.
    """
    sharding = divided.value
    if sharding is None or x.shape[0] % sharding.num_devices:
        return function(x)
    return jax.shard_map(function, mesh=sharding.mesh, in_specs=sharding.spec, out_specs=sharding.spec)(x)
