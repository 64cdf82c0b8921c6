"""Which module of an NNX model plays which PyTorch layer, and where each weight goes.

By name if all names agree (a Sequential's "layers" apart), else by the order of calls, where kind and shapes must
agree from first to last; rules say the rest. Nothing is guessed: what finds no partner is an error with both lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxnn.errors import UserError
from jaxnn.interop.layout import Layout
from jaxnn.parity.port.calls import Call, Image, Path, dotted, flattened, pair_calls
from jaxnn.parity.port.families import Match, Site, family, layout_of, matches, may_miss
from jaxnn.parity.recording import Recording

Shapes = dict[str, tuple[int, ...]]


class PairingError(UserError):
    """The two models cannot be laid side by side."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Where a PyTorch layer or tensor is in the NNX model, where that cannot be seen or is not the usual.

    ``path``: dotted, of the module or of the leaf. ``axes``: how the leaf's axes come from the tensor's, as for
    numpy.transpose. ``flatten``: the (channels, height, width) of the image whose features the layer takes, if the
    NNX model flattens it channels last.
    """

    path: str | None = None
    axes: tuple[int, ...] = ()
    flatten: Image | None = None


Rules = Mapping[str, str | Rule]
"""From a module's name or a state_dict key of PyTorch to its path in the NNX model, or to a Rule."""


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """``leaves``: path of the NNX leaf and layout by state_dict key. ``calls``: the call of an NNX module by the
    layer's name. ``missing``: biases that only one side has, with the side that lacks each and where it is, or would
    be, in the NNX model. ``flattened``: see ``jaxnn.parity.port.calls.flattened``.
    """

    leaves: dict[str, tuple[Path, Layout]]
    calls: dict[str, Call]
    missing: list[tuple[str, str, Path]] = field(default_factory=list)
    flattened: dict[tuple[str, str], Image] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pair(reference: Recording, sites: Sequence[Site], calls: Sequence[Path], rules: Rules | None = None) -> Pairing:
    """Lays the NNX model's ``sites``, called in the order of ``calls``, beside the layers of ``reference``.

    Raises PairingError, which lists both sides, if a layer has no partner or a weight no place of its shape.
    """
    given = {name: Rule(path=rule) if isinstance(rule, str) else rule for name, rule in (rules or {}).items()}
    layers = _shapes_by_layer(reference)
    _require_known(given, reference, layers)
    by_path = {dotted(site.path): site for site in sites}
    kinds = {layer.module: family([layer.kind]) for layer in reference.layers}
    chosen: dict[str, Site] = {}
    for name, rule in given.items():
        if name in layers and rule.path is not None:
            chosen[name] = _site(rule.path, by_path, name)
    ruled = {key.rpartition(".")[0] for key, rule in given.items() if key not in layers and rule.path is not None}
    rest = {name: shapes for name, shapes in layers.items() if name not in chosen and name not in ruled}
    order = {path: number for number, path in reversed(list(enumerate(calls)))}
    free = sorted(
        (site for site in sites if site.leaves and site not in chosen.values() and not _is_ruled(site, given)),
        key=lambda site: order.get(site.path, len(order)),
    )
    chosen |= _by_name(rest, free, kinds, given) or _by_order(rest, free, kinds, given)
    leaves, missing = _leaves(layers, chosen, given, by_path)
    missing += _unfilled(sites, leaves, layers, chosen)
    calls_of, notes = pair_calls(reference, chosen, sites, calls)
    images = {name: image for name in layers if (image := _flatten(given, name))}
    return Pairing(leaves=leaves, calls=calls_of, missing=missing, flattened=flattened(reference, images), notes=notes)


def _shapes_by_layer(reference: Recording) -> dict[str, Shapes]:
    """The shapes of each layer's own parameters and buffers, in the order of the layers' first calls."""
    found: dict[str, Shapes] = {layer.module: {} for layer in reference.layers}
    for key, value in reference.under("weight").items():
        layer, _, name = key.rpartition(".")
        found.setdefault(layer, {})[name] = value.shape
    return {name: shapes for name, shapes in found.items() if shapes}


def _require_known(given: dict[str, Rule], reference: Recording, layers: dict[str, Shapes]) -> None:
    known = {*layers, *reference.under("weight"), *(layer.module for layer in reference.layers)}
    for name in given:
        if name not in known:
            raise PairingError(f"rules name {name!r}, but the PyTorch model has no such module or tensor")


def _site(path: str, by_path: dict[str, Site], name: str) -> Site:
    site = by_path.get(dotted(path.split(".")))
    if site is None:
        raise PairingError(
            f"rules send {name} to {path!r}, but the NNX model has no such module; it has {', '.join(by_path)}"
        )
    return site


def _is_ruled(site: Site, given: dict[str, Rule]) -> bool:
    """Whether a rule names one of the site's leaves."""
    named = {dotted(rule.path.split(".")) for rule in given.values() if rule.path is not None}
    return any(dotted((*site.path, leaf)) in named for leaf in site.leaves)


def _flatten(given: dict[str, Rule], name: str) -> Image | None:
    rule = given.get(name) or given.get(f"{name}.weight")
    return None if rule is None else rule.flatten


def _by_name(
    layers: dict[str, Shapes], sites: Sequence[Site], kinds: dict[str, str], given: dict[str, Rule]
) -> dict[str, Site] | None:
    """All layers by their names, or nothing: names that agree in part agree by chance."""
    named = {dotted(site.path): site for site in sites}
    if set(named) != set(layers):
        return None
    fits = all(_fits(name, shapes, named[name], kinds, given) for name, shapes in layers.items())
    return {name: named[name] for name in layers} if fits else None


def _by_order(
    layers: dict[str, Shapes], sites: Sequence[Site], kinds: dict[str, str], given: dict[str, Rule]
) -> dict[str, Site]:
    fits = len(layers) == len(sites) and all(
        _fits(name, shapes, site, kinds, given) for (name, shapes), site in zip(layers.items(), sites, strict=True)
    )
    if not fits:
        raise PairingError(_side_by_side(layers, sites, kinds, given))
    return dict(zip(layers, sites, strict=True))


_LIBRARY = {"linear", "convolution", "batch norm", "embedding", "layer norm", "group norm"}


def _fits(name: str, shapes: Shapes, site: Site, kinds: dict[str, str], given: dict[str, Rule]) -> bool:
    """Layers that both libraries have must be the same; a class of the user's own may play any of its shapes."""
    kind = kinds.get(name, "")
    alike = kind == site.family or site.family not in _LIBRARY or kind not in _LIBRARY
    return alike and matches(shapes, site, _flatten(given, name)) is not None


def _side_by_side(
    layers: dict[str, Shapes], sites: Sequence[Site], kinds: dict[str, str], given: dict[str, Rule]
) -> str:
    theirs = [f"{name}: {kinds.get(name, 'parameters')} {_listed(shapes)}" for name, shapes in layers.items()]
    ours = [f"{dotted(site.path)}: {site.family} {_listed(site.leaves)}" for site in sites]
    if len(layers) != len(sites):
        reason = f"PyTorch has {len(layers)} layers with weights, the NNX model {len(sites)}"
    else:
        at = next(
            number
            for number, ((name, shapes), site) in enumerate(zip(layers.items(), sites, strict=True))
            if not _fits(name, shapes, site, kinds, given)
        )
        reason = f"they part at {theirs[at]} against {ours[at]}"
    rows = [f"  {left:<60}  {right}" for left, right in _padded(["PyTorch", *theirs], ["NNX", *ours])]
    return "\n".join([f"the models cannot be paired: {reason}; give rules, or mend the port:", *rows])


def _listed(shapes: Shapes) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())


def _padded(left: list[str], right: list[str]) -> list[tuple[str, str]]:
    length = max(len(left), len(right))
    return list(zip(left + ["-"] * (length - len(left)), right + ["-"] * (length - len(right)), strict=True))


def _leaves(
    layers: dict[str, Shapes], chosen: dict[str, Site], given: dict[str, Rule], by_path: dict[str, Site]
) -> tuple[dict[str, tuple[Path, Layout]], list[tuple[str, str, Path]]]:
    leaves: dict[str, tuple[Path, Layout]] = {}
    missing: list[tuple[str, str, Path]] = []
    for name, shapes in layers.items():
        site = chosen.get(name)
        found = {} if site is None else {m.name: m for m in _required(name, shapes, site, _flatten(given, name))}
        for tensor, shape in shapes.items():
            key = f"{name}.{tensor}" if name else tensor
            rule = given.get(key)
            if rule is not None and rule.path is not None:
                leaves[key] = _ruled_leaf(key, shape, rule, by_path)
            elif site is not None and tensor in found:
                layout = Layout(axes=rule.axes) if rule is not None and rule.axes else found[tensor].layout
                leaves[key] = ((*site.path, found[tensor].leaf), layout)
            elif site is None:
                raise PairingError(f"rules place parts of {name}, but not {key}; add a rule for it")
            elif tensor == "bias":
                missing.append(("NNX", key, (*site.path, "bias")))
    return leaves, missing


def _required(name: str, shapes: Shapes, site: Site, flatten: Image | None) -> list[Match]:
    found = matches(shapes, site, flatten)
    if found is None:
        raise PairingError(
            f"{name} ({_listed(shapes)}) does not fit into {dotted(site.path)} ({_listed(site.leaves)}); "
            "a kernel is (..., in, out) for PyTorch's (out, in, ...)"
        )
    return found


def _ruled_leaf(key: str, shape: tuple[int, ...], rule: Rule, by_path: dict[str, Site]) -> tuple[Path, Layout]:
    assert rule.path is not None
    module, _, leaf = rule.path.rpartition(".")
    site = _site(module, by_path, key) if module else by_path.get("")
    if site is None or leaf not in site.leaves:
        raise PairingError(f"rules send {key} to {rule.path!r}, but the NNX model has no such leaf")
    usual = layout_of(leaf, len(shape), rule.flatten)
    layout = Layout(axes=rule.axes, flatten=rule.flatten) if rule.axes else usual
    if len(layout.axes) not in (0, len(shape)) or layout.shape_in_nnx(shape) != site.leaves[leaf]:
        raise PairingError(
            f"rules send {key} {shape} to {rule.path}, whose shape is {site.leaves[leaf]}; give axes that fit"
        )
    return (*site.path, leaf), layout


def _unfilled(
    sites: Sequence[Site],
    leaves: dict[str, tuple[Path, Layout]],
    layers: dict[str, Shapes],
    chosen: dict[str, Site],
) -> list[tuple[str, str, Path]]:
    filled = {path for path, _ in leaves.values()}
    left = [(*site.path, leaf) for site in sites for leaf in site.leaves if (*site.path, leaf) not in filled]
    names = {site.path: name for name, site in chosen.items()}
    missing = [("PyTorch", f"{names[path[:-1]]}.bias", path) for path in left
               if path[-1] == "bias" and path[:-1] in names]  # fmt: skip
    stray = [dotted(path) for path in left if not (may_miss(str(path[-1])) and path[:-1] in names)]
    if stray:
        raise PairingError(
            f"the NNX model has {', '.join(stray)}, for which PyTorch has nothing; it has "
            f"{', '.join(f'{name} ({_listed(shapes)})' for name, shapes in layers.items())}; give rules"
        )
    return missing
