"""Which call of an NNX module is which call of a PyTorch layer, and where features are behind a flattened image."""

from collections.abc import Iterator, Mapping, Sequence

from jaxnn.interop.layout import INPUTS, OUTPUTS, Place
from jaxnn.parity.port.families import Site, family
from jaxnn.parity.recording import Layer, Recording

Path = tuple[str | int, ...]
Call = tuple[Path, int]
"""An NNX module, and the number of its call, from 1."""
Image = tuple[int, int, int]
"""Channels, height, width."""


def dotted(path: Sequence[str | int]) -> str:
    """A path as PyTorch writes it: without the "layers" in which nnx.Sequential keeps its own."""
    return ".".join(str(name) for name in path if name != "layers")


def pair_calls(
    reference: Recording, chosen: Mapping[str, Site], sites: Sequence[Site], calls: Sequence[Path]
) -> tuple[dict[str, Call], tuple[str, ...]]:
    """Pairs the calls of layers with weights by their numbers; the others by kind, between the same neighbours."""
    numbers: dict[Path, int] = {}
    ours: list[Call] = []
    for path in calls:
        numbers[path] = numbers.get(path, 0) + 1
        ours.append((path, numbers[path]))
    families = {site.path: site.family for site in sites}
    found: dict[str, Call] = {}
    notes = []
    for layer in reference.layers:
        if layer.module in chosen:
            number = int(layer.name.partition("#")[2] or 1)
            call = (chosen[layer.module].path, number)
            if call in ours:
                found[layer.name] = call
            else:
                notes.append(f"{layer.name} is not compared: the NNX model does not call {dotted(call[0])} for it")
    anchors = set(found.values())
    for theirs, mine in _between(reference, found, ours):
        for kind in dict.fromkeys(family([layer.kind]) for layer in theirs):
            alike = [layer.name for layer in theirs if family([layer.kind]) == kind]
            partners = [call for call in mine if families.get(call[0]) == kind and call not in anchors]
            if len(alike) == len(partners):
                found |= dict(zip(alike, partners, strict=True))
    return found, tuple(notes)


def _between(
    reference: Recording, found: Mapping[str, Call], ours: list[Call]
) -> Iterator[tuple[list[Layer], list[Call]]]:
    """The unpaired layers and calls between two neighbours that are paired, and before the first and after the last."""
    start = 0
    theirs: list[Layer] = []
    for layer in reference.layers:
        if layer.name not in found:
            theirs.append(layer)
            continue
        stop = ours.index(found[layer.name])
        yield theirs, ours[start:stop]
        start, theirs = stop + 1, []
    yield theirs, ours[start:]


def flattened(reference: Recording, images: Mapping[str, Image]) -> dict[Place, Image]:
    """The inputs and outputs of layers, ("fc1", "input"), between an image that NNX flattens channels last and the
    layer that takes its features; ``images`` has the image by that layer's name."""
    found: dict[Place, Image] = {}
    for number, layer in enumerate(reference.layers):
        image = images.get(layer.module)
        if image is None:
            continue
        features = image[0] * image[1] * image[2]
        found[layer.name, "input"] = image
        for earlier in reversed(reference.layers[:number]):
            entered = reference.arrays.get(f"forward/{earlier.name}/input")
            if reference.arrays[f"forward/{earlier.name}/output"].shape[1:] != (features,):
                break
            found[earlier.name, "output"] = image
            if entered is not None and entered.ndim == 2:
                found[earlier.name, "input"] = image
    return found


_CHANNELS_SECOND = ("Conv1d", "BatchNorm1d", "InstanceNorm1d", "GroupNorm")
_FEATURES_LAST = ("Embedding", "Linear", "LayerNorm", "RMSNorm", "MultiheadAttention")
_SWAPS = ("transpose", "permute")


def sequences(reference: Recording) -> frozenset[Place]:
    """Where arrays of three dimensions are (batch, channels, length) in PyTorch. A layer that takes either has what
    the layer before it had, unless axes are swapped between them."""
    found: set[Place] = set()
    before: bool | None = None
    for layer in reference.layers:
        swapped = any(op.name in _SWAPS for op in layer.before)
        known = layer.kind in _CHANNELS_SECOND or layer.kind.endswith("Pool1d")
        second = known or (layer.kind not in _FEATURES_LAST and bool(before) != swapped)
        if before is None and second != swapped:
            found.add(INPUTS)
        found |= {(layer.name, what) for what in ("input", "output")} if second else set()
        before = second
    if bool(before) != any(op.name in _SWAPS for op in reference.after):
        found.add(OUTPUTS)
    return frozenset(found)
