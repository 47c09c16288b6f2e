"""How Keras itself would group weights: by the order of `model.layers` (legacy HDF5) or by class number (Keras 3).

What neither an architecture, nor the groups of the container that the weights come from, nor a known order tells is refused:
Keras loads a file in another order, or with another class number, without a word where the shapes allow it.

Sources: keras/src/legacy/saving/legacy_h5_format.py (`load_weights_from_hdf5_group`, `_legacy_weights`) and
keras/src/saving/saving_lib.py (`_save_container_state`, `_walk_saveable`), Keras 3.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.conventions.candidates import snake_case
from ckptkit.errors import RefusedError
from ckptkit.model import OPTIMIZER, TOP_LEVEL, CheckpointSpec, Placed, Variable

# Layers that hold their weights themselves, and those whose cell does.
_OWN = frozenset({
    "AdditiveAttention", "Attention", "BatchNormalization", "BatchNormalizationV1", "Conv1D", "Conv1DTranspose",
    "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Convolution1D", "Convolution2D", "Convolution3D",
    "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "EinsumDense", "Embedding", "GroupNormalization",
    "LayerNormalization", "LocallyConnected1D", "LocallyConnected2D", "Normalization", "PReLU", "RMSNormalization",
    "SeparableConv1D", "SeparableConv2D",
})  # fmt: skip
_CELLED = frozenset({"LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})

# Attributes under which a layer keeps others, in the order of its weights (keras/src/layers/attention/
# multi_head_attention.py, layers/rnn/bidirectional.py); each has as many weights as the others.
_PARTED = {
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
    "Bidirectional": ("forward_layer/cell", "backward_layer/cell"),
}
_PART_ORDER = {part: number for parts in _PARTED.values() for number, part in enumerate(parts)}

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_FROZEN_ROLES = ("moving_mean", "moving_variance")
_UNKNOWN_ORDERS = ("sorted", "natural")

ASSUME = "--assume order=sorted takes the layers as `ckptkit inspect` lists them"


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a Keras container.

    Attributes:
        path: the layer's name (legacy), or the path of the owner of `vars` (Keras 3).
        name: of the layer: the group's `name` attribute (Keras 3), or None.
        variables: what is in it, in order.
        words: the name of each in `weight_names` (legacy); empty where they are to be made.
    """

    path: str
    name: str | None
    variables: tuple[Variable, ...]
    words: tuple[str, ...] = ()


def order_is_known(spec: CheckpointSpec) -> bool:
    """Whether the order of the layers comes from something better than their names, or cannot matter."""
    return spec.layout is not None or spec.order_source not in _UNKNOWN_ORDERS or len(spec.layers) < 2


def legacy_groups(spec: CheckpointSpec, carried: Sequence[Variable], *, assume: bool) -> list[Group]:
    """The groups of a legacy HDF5 file in the order of `model.layers`, without what belongs to no layer.

    Raises:
        RefusedError: nothing tells that order.
    """
    weights = [variable for variable in carried if variable.kind == "weight"]
    places = _places(spec, weights)
    if places is None or assume:
        _need_order(spec, "a legacy HDF5 file by the order of the layers", assume=assume)
        return _by_layer(spec, carried)
    if spec.layout is not None and spec.layout.kind == "legacy":
        return _as_they_were(spec, carried, {TOP_LEVEL, OPTIMIZER}, words=True)
    return _from_v3(spec, weights, places)


def v3_groups(spec: CheckpointSpec, carried: Sequence[Variable], *, assume: bool) -> list[Group]:
    """The groups of a Keras 3 file in the order of writing; without what belongs to no layer, unless the source had it so.

    Raises:
        RefusedError: nothing tells the class numbers.
    """
    weights = [variable for variable in carried if variable.kind == "weight"]
    places = _places(spec, weights)
    if places is not None and spec.layout is not None and spec.layout.kind == "v3":
        return _as_they_were(spec, carried, set(), words=False)
    if places is None or assume:
        _need_order(spec, "Keras 3's weights by class and number", assume=assume)
        return _by_class(_by_layer(spec, carried), _kinds(spec))
    root = parse_architecture(spec.architecture)
    layers = [variable for variable in weights if places[variable.key].group not in (TOP_LEVEL, OPTIMIZER)]
    if root is not None:
        return _from_architecture(spec, root, layers)
    groups = [group for group in _as_they_were(spec, carried, {TOP_LEVEL, OPTIMIZER}, words=False) if group.variables]
    for group in groups:
        if {variable.layer for variable in group.variables} != {group.path} or _kinds(spec).get(group.path) is None:
            raise _unknown(
                spec, group.path, "no architecture tells the class of this layer, by which Keras 3 numbers it"
            )
    return _by_class(groups, _kinds(spec))


def _exchangeable(spec: CheckpointSpec) -> tuple[str, str] | None:
    """Two layers that have the same shapes, so that one would be loaded in the place of the other without a word.

    Where there are none, a file fits a model in one order only, and Keras refuses every other.
    """
    shapes = {variable.name: variable.shape for variable in spec.variables}
    seen: dict[tuple[tuple[int, ...], ...], str] = {}
    for layer in spec.layers:
        signature = tuple(sorted(shapes[name] for name in layer.variables))
        if signature in seen:
            return seen[signature], layer.name
        seen[signature] = layer.name
    return None


def _need_order(spec: CheckpointSpec, what: str, *, assume: bool) -> None:
    if not assume and not order_is_known(spec) and (pair := _exchangeable(spec)):
        raise RefusedError(
            f"Keras loads {what}, and nothing in the file tells the order of its {len(spec.layers)} layers, of which some"
            f" fit in each other's places ({pair[0]}, {pair[1]})", path=spec.path, hint=ASSUME,
        )  # fmt: skip


def _unknown(spec: CheckpointSpec, layer: str, why: str) -> RefusedError:
    return RefusedError(why, path=spec.path, key=layer, hint="Convert the file with its architecture (`.h5`, `.keras`)")


def _kinds(spec: CheckpointSpec) -> dict[str, str | None]:
    return {layer.name: layer.kind for layer in spec.layers}


def _places(spec: CheckpointSpec, weights: Iterable[Variable]) -> dict[str, Placed] | None:
    """Native key -> place, where all weights have one in a Keras container."""
    if spec.layout is None or spec.layout.kind == "order":
        return None
    places = {place.key: place for place in spec.layout.places}
    return places if all(variable.key in places for variable in weights) else None


def _as_they_were(spec: CheckpointSpec, carried: Sequence[Variable], besides: set[str], *, words: bool) -> list[Group]:
    """The groups of the container that the weights come from."""
    by_key = {variable.key: variable for variable in carried}
    found: dict[str, list[tuple[Placed, Variable]]] = defaultdict(list)
    for place in spec.layout.places if spec.layout else ():
        if place.key in by_key and place.group not in besides:
            found[place.group].append((place, by_key[place.key]))
    return [
        Group(
            path, members[0][0].word or None, tuple(variable for _, variable in members),
            tuple(place.word for place, _ in members) if words else (),
        )
        for path, members in found.items()
    ]  # fmt: skip


def _by_layer(spec: CheckpointSpec, carried: Sequence[Variable]) -> list[Group]:
    """A group for each layer of the canonical map that has weights."""
    by_name = {variable.name: variable for variable in carried if variable.kind == "weight"}
    owned = [(layer.name, tuple(by_name[n] for n in layer.variables if n in by_name)) for layer in spec.layers]
    return [Group(name, name, variables) for name, variables in owned if variables]


def _by_class(groups: Iterable[Group], kinds: Mapping[str, str | None]) -> list[Group]:
    """The groups of layers under their class numbers."""
    counts: Counter[str] = Counter()
    numbered = []
    for group in groups:
        kind = kinds.get(group.variables[0].layer) or "Layer"
        word = snake_case(kind)
        where = f"layers/{word}_{counts[word]}" if counts[word] else f"layers/{word}"
        counts[word] += 1
        end = "/cell" if kind in _CELLED else ""
        numbered.append(Group(where + end, group.path, group.variables))
    return numbered


def _from_architecture(spec: CheckpointSpec, root: Node, weights: Sequence[Variable]) -> list[Group]:
    """The groups that Keras 3 would write of the model that `root` is."""
    paths: dict[int, str] = {id(root): ""}
    leaves: dict[str, Node] = {}
    for node in preorder(root):
        if not node.is_model and node.parent is not None and node.parent.is_model and id(node) in paths:
            leaves[node.path] = node
        if node.is_model and id(node) in paths:
            for name, child in node.group_names().items():
                paths[id(child)] = f"{paths[id(node)]}/layers/{name}".lstrip("/")
    owned: dict[str, list[Variable]] = {path: [] for path in leaves}
    for variable in weights:
        path = variable.layer
        while path and path not in leaves:
            path = path.rpartition("/")[0]
        if not path:
            raise _unknown(spec, variable.name, "the architecture in the file has no layer for this weight")
        owned[path].append(variable)
    groups = []
    for path, variables in owned.items():
        if variables:
            node = leaves[path]
            for end, members in _inside(spec, node, variables):
                groups.append(Group(paths[id(node)] + end, node.name, members))
    return groups


def _inside(spec: CheckpointSpec, node: Node, variables: Sequence[Variable]) -> list[tuple[str, tuple[Variable, ...]]]:
    """(path below the layer's group, what is in it) of a layer's weights, which are in Keras's order."""
    kind = node.class_name
    if kind == "TimeDistributed" and "layer" in node.parts:
        return [(f"/layer{end}", members) for end, members in _inside(spec, node.parts["layer"], variables)]
    parts = _PARTED.get(kind, ())
    if kind == "Bidirectional" and any(part.class_name not in _CELLED for part in node.parts.values()):
        parts = ()
    if parts and len(variables) % len(parts) == 0:
        size = len(variables) // len(parts)
        # tf_keras calls the attributes by their own names, Keras 3 without the underscore that begins them.
        hidden = kind == "MultiHeadAttention" and (spec.producer or "").startswith("Keras 2")
        parts = tuple(f"_{part}" if hidden else part for part in parts)
        return [(f"/{part}", tuple(variables[n * size : (n + 1) * size])) for n, part in enumerate(parts)]
    if kind in _CELLED:
        return [("/cell", tuple(variables))]
    if kind in _OWN:
        return [("", tuple(variables))]
    raise _unknown(spec, node.path, f"where Keras 3 keeps the weights of a {kind} is not known")


def _from_v3(spec: CheckpointSpec, weights: Sequence[Variable], places: Mapping[str, Placed]) -> list[Group]:
    """The groups of a legacy file of the model whose Keras 3 groups the weights have."""
    by_key = {variable.key: variable for variable in weights}
    tops: dict[str, dict[str, list[Variable]]] = {}
    for place in places.values():
        if place.key not in by_key:
            continue
        container, _, rest = place.group.partition("/")
        if container not in _CONTAINERS or not rest:
            raise _unknown(
                spec, place.group or "/", "Keras 3 wrote attributes of this model by the alphabet, and a legacy file is"
                " loaded in another order that nothing tells",
            )  # fmt: skip
        top, _, inner = rest.partition("/")
        tops.setdefault(top, {}).setdefault(inner, []).append(by_key[place.key])
    root = parse_architecture(spec.architecture)
    nodes = root.group_names() if root is not None else {}
    groups = []
    for top, parts in tops.items():
        node = nodes.get(top)
        variables = _legacy_order(spec, top, node, parts)
        name = node.name if node is not None else variables[0].layer.partition("/")[0]
        groups.append(Group(name, name, tuple(variables)))
    if len({group.path for group in groups}) < len(groups):
        raise _unknown(spec, groups[0].path, "two layers of one name")
    return groups


def _legacy_order(
    spec: CheckpointSpec, top: str, node: Node | None, parts: Mapping[str, list[Variable]]
) -> list[Variable]:
    """The weights of a layer of the outermost model as Keras lists them: the trainable ones first."""
    if len(parts) == 1 and not next(iter(parts)).startswith(_CONTAINERS):
        return next(iter(parts.values()))
    places = {part: _PART_ORDER.get(part.lstrip("_")) for part in parts}
    if None not in places.values():
        return [variable for part in sorted(parts, key=lambda part: places[part] or 0) for variable in parts[part]]
    if node is None or not node.is_model:
        raise _unknown(spec, top, "no architecture tells the order of the weights inside this layer")
    inner = list(preorder(node))
    if any(each.config.get("trainable") is False for each in inner):
        raise _unknown(spec, top, "some layers of this inner model are frozen, which changes the order of its weights")
    ordered: list[Variable] = []
    for group, child in node.group_names().items():
        mine = {
            part.partition("/")[2].partition("/")[2]: variables
            for part, variables in parts.items()
            if part.split("/")[1:2] == [group]
        }
        if mine:
            ordered += _legacy_order(spec, f"{top}/{group}", child, mine)
    if len(ordered) != sum(map(len, parts.values())):
        raise _unknown(spec, top, "the architecture in the file does not fit the weights of this inner model")
    return sorted(ordered, key=lambda variable: variable.role in _FROZEN_ROLES)
