"""The rivals: each a function ``prepare(recipe, dataset) -> Prepared``, imported only where it runs."""

from typing import NamedTuple


class Rival(NamedTuple):
    """``module`` of this folder, its function ``prepare``, and ``evaluate`` if it has an evaluation to measure."""

    title: str
    module: str
    framework: str
    prepare: str = "prepare"
    evaluate: str | None = None


REFERENCE = "torch"
RIVALS = {
    "jaxnn": Rival("jaxnn", "jax_backend", "jax", evaluate="prepare_evaluation"),
    REFERENCE: Rival("PyTorch eager", "torch_backend", "torch", evaluate="prepare_evaluation"),
    "compile": Rival("torch.compile", "torch_backend", "torch", prepare="prepare_compiled"),
    "document": Rival("document", "torch_document", "torch"),
    "flax": Rival("flax NNX loop", "flax_loop", "jax"),
}
