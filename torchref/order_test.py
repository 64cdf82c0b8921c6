"""Batches and generator against a real DataLoader."""

import pytest
import torch
from torch.utils.data import DataLoader

from jaxnn.data.order import batching
from jaxnn.recipes import get
from torchref import order


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("examples", "batch_size"), [(57, 10), (60, 10), (5, 5), (7, 1)])
def test_three_epochs_of_a_data_loader(examples: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    torch.manual_seed(420)
    loader = DataLoader(range(examples), batch_size, shuffle=shuffle, drop_last=drop_last)  # pyright: ignore[reportArgumentType]
    expected = [[batch.tolist() for batch in loader] for _ in range(3)]
    state = torch.get_rng_state()
    torch.manual_seed(420)
    options = {"batch_size": batch_size, "drop_last": drop_last}
    drawn = [[b.tolist() for b in order.draw(examples, shuffle=shuffle, **options)] for _ in range(3)]
    assert drawn == expected
    assert torch.equal(torch.get_rng_state(), state)
    assert batching(examples, get("csv").replace(**options)).steps == len(expected[0])
