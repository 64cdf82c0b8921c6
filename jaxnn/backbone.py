"""All layers but the last, which are frozen when ``recipe.freeze_backbone`` says so."""

from typing import Any

from flax import traverse_util

from jaxnn import optim

Pytree = Any


def trained(params: Pytree, layer: str | None) -> Pytree:
    """The parameters of ``layer``, a PyTorch name such as "fc3" or "classifier.6"; all of them if it is None."""
    if layer is None:
        return params
    name = layer.split(".")
    flat = traverse_util.flatten_dict(params)
    found = {path: leaf for path, leaf in flat.items() if _torch_name(path)[: len(name)] == name}
    if not found:
        raise ValueError(f"there is no layer {layer}")
    return traverse_util.unflatten_dict(found)


def whole(params: Pytree, part: Pytree) -> Pytree:
    """``params`` with those that ``trained`` picked taken from ``part``."""
    flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(part)
    return traverse_util.unflatten_dict(flat)


def with_state_of(rule: optim.Rule, layer: str | None) -> optim.Rule:
    """``rule`` with optimizer state for the parameters of ``layer`` alone."""
    return rule._replace(init=lambda params: rule.init(trained(params, layer)))


def _torch_name(path: tuple[Any, ...]) -> list[str]:
    return [str(part) for part in path if part != "layers"]  # nnx.Sequential's own level
