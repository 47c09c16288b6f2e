"""The same variables in another container: which name each gets there.

Naming, by target format (canonical name `encoder/dense/kernel`, layer `encoder/dense`):

| target | name |
|---|---|
| safetensors (also sharded), npz, TensorFlow bundle | the canonical name |
| PyTorch | the canonical name with dots, `encoder.dense.kernel` |
| safetensors, npz, PyTorch, from a file with the names of a `state_dict` | those names |
| Orbax, Flax msgpack | the path that it has in a tree; else see `conversion.trees` |
| Orbax, from a file with the architecture of a Keras model | that of Keras's variable, see `conversion.keras_tree` |
| Keras legacy HDF5 | as in such a file before; else group `encoder/dense`, weight `encoder/dense/kernel:0` |
| Keras 3 weights (also sharded) | as in such a file before; else `layers/<class and number>/vars/N` |

The order and the groups of a Keras container travel with the weights (see `Layout`). What belongs to no layer goes where that
format keeps such things: `top_level_model_weights` and `optimizer_weights`, or `vars` and `optimizer/vars`. A bundle's object
graph and saved configurations describe the old container and are left behind, as are iterators, whose state is not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit.canonical.torch_names import is_torch
from ckptkit.conversion.keras import Group, legacy_groups, order_is_known, v3_groups
from ckptkit.conversion.trees import TREES, tree_of
from ckptkit.errors import RefusedError
from ckptkit.model import (
    Checkpoint,
    CheckpointSpec,
    Contents,
    KerasV3,
    Layout,
    LegacyGroup,
    LegacyKeras,
    Placed,
    StoredTensor,
    Structure,
    TensorSource,
    Tree,
    TreeLeaf,
    Variable,
    VarsGroup,
)

# Containers of flat names in which a state dict keeps its own.
_WITH_DOTS = frozenset({"safetensors", "safetensors-sharded", "npz", "torch", "torch-sharded"})

_UNKNOWN_ORDER = "nothing tells the order of the layers, by which Keras loads: they are written as they are listed"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A new container's contents, and where each of its tensors comes from.

    Attributes:
        contents: what the writer is given.
        origin: key in the new container -> native key in the old one.
        left: variables that the new container has no place for.
        notes: what is to be known of it.
    """

    contents: Contents
    origin: Mapping[str, str]
    left: tuple[Variable, ...]
    notes: tuple[str, ...] = ()


def plan_conversion(spec: CheckpointSpec, to: str, *, assume_order: bool = False) -> Conversion:
    """Name every variable of `spec` in format `to`.

    Args:
        spec: the canonical map of the old container.
        to: the new format.
        assume_order: take the layers in the order of the map where nothing better tells it.

    Raises:
        RefusedError: Keras loads the new container by order or class number, and nothing tells those.
    """
    left = tuple(variable for variable in spec.variables if _describes_container(variable))
    carried = [variable for variable in spec.variables if not _describes_container(variable)]
    structure: Structure | None = None
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    others: dict[str, tuple[str, ...]] = {}
    if to == "keras-h5":
        keys, structure = _legacy(carried, legacy_groups(spec, carried, assume=assume_order))
    elif to in {"keras-weights-h5", "keras-sharded"}:
        keys, structure = _v3(carried, v3_groups(spec, carried, assume=assume_order))
    elif to in TREES:
        # The second copy of a variable has no path of its own.
        left += tuple(variable for variable in carried if variable.copy_of)
        carried = [variable for variable in carried if not variable.copy_of]
        planted = tree_of(spec, carried, to)
        keys = {name: "/".join(paths[0]) for name, paths in planted.paths.items()}
        if len(set(keys.values())) < len(keys):
            keys = {name: name for name in keys}
        others = {name: tuple("/".join(path) for path in paths[1:]) for name, paths in planted.paths.items()}
        structure = Tree(tuple(TreeLeaf(keys[name], paths[0]) for name, paths in planted.paths.items()), planted.config)
        notes = planted.notes
        layout = _travelling(spec, carried) if planted.config is None or spec.tree else None
    else:
        layout = _travelling(spec, carried)
        if layout is not None:  # the file's own order is that of the layout, which is all that npz has of it
            order = {place.key: number for number, place in enumerate(layout.places)}
            carried.sort(key=lambda variable: order.get(variable.name, len(order)))
        keys = _flat_names(spec, carried, to)
    tensors = tuple(
        StoredTensor(
            keys[variable.name], variable.shape, variable.dtype, variable.nbytes, others.get(variable.name, ()),
            trainable=variable.trainable, problem=variable.problem,
        )
        for variable in carried
    )  # fmt: skip
    origin = {keys[variable.name]: variable.key for variable in carried}
    if layout is not None and keys:
        places = tuple(replace(place, key=keys.get(place.key, place.key)) for place in layout.places)
        layout = replace(layout, places=places)
    if structure is not None and to not in TREES and not order_is_known(spec):
        notes = (_UNKNOWN_ORDER,)
    return Conversion(Contents(to, "ckptkit", tensors, structure, layout=layout), origin, left, notes)


def _flat_names(spec: CheckpointSpec, carried: Sequence[Variable], to: str) -> dict[str, str]:
    """Canonical name -> name in a container of flat names: that of a state dict where one side is PyTorch's.

    Raises:
        RefusedError: two variables would be called the same.
    """
    torch = to in ("torch", "torch-sharded")
    keys = {variable.name: variable.name for variable in carried}
    if to in _WITH_DOTS and (spec.format in ("torch", "torch-sharded") or is_torch(each.key for each in carried)):
        around = _around([variable.key for variable in carried if variable.kind == "weight"])
        keys = {variable.name: variable.key.removeprefix(around) for variable in carried}
    elif torch:
        keys = {variable.name: variable.name.replace("/", ".") for variable in carried}
    twice = next((key for key, count in Counter(keys.values()).items() if count > 1), None)
    if twice is not None:
        raise RefusedError("two variables would have this name", path=spec.path, key=twice)
    return keys


def _around(keys: Sequence[str]) -> str:
    """The dictionaries that all keys lie in, with a slash at the end: `state_dict/` of `state_dict/fc.weight`."""
    outer = {key.rpartition("/")[0] for key in keys}
    return f"{outer.pop()}/" if len(outer) == 1 and "" not in outer else ""


def _describes_container(variable: Variable) -> bool:
    """Whether it is an object graph, a configuration that an object of it carries, a layout, or the state of an iterator.

    Other strings are content: the keys of a table say nothing without its values, nor these without them.
    """
    return variable.opaque or (
        variable.kind == "metadata"
        and (
            variable.key in ("_CHECKPOINTABLE_OBJECT_GRAPH", "_CKPTKIT_LAYOUT")
            or variable.key.endswith("/.ATTRIBUTES/OBJECT_CONFIG_JSON")
        )
    )


def _travelling(spec: CheckpointSpec, carried: Iterable[Variable]) -> Layout | None:
    """What goes along into a container that knows no order; None where none is known."""
    names = {variable.key: variable.name for variable in carried}
    if spec.layout is not None:
        places = [replace(place, key=names[place.key]) for place in spec.layout.places if place.key in names]
        return Layout(spec.layout.kind, tuple(places))
    if not order_is_known(spec):
        return None
    return Layout("order", tuple(Placed(variable.name) for variable in carried if variable.kind == "weight"))


def _legacy(carried: list[Variable], layers: list[Group]) -> tuple[dict[str, str], Structure]:
    keys: dict[str, str] = {}
    groups = []
    for layer in layers:
        words = layer.words or tuple(f"{variable.name}:0" for variable in layer.variables)
        weights = tuple((word, f"{layer.path}/{word}") for word in words)
        keys.update((variable.name, key) for variable, (_, key) in zip(layer.variables, weights, strict=True))
        groups.append(LegacyGroup(layer.path, weights))
    top: list[tuple[str, str]] = []
    optimizer: list[tuple[str, str]] = []
    for variable in carried:
        if variable.name in keys:
            continue
        slot = variable.kind == "slot"
        keys[variable.name] = f"{'optimizer_weights' if slot else 'top_level_model_weights'}/{variable.name}:0"
        (optimizer if slot else top).append((f"{variable.name}:0", keys[variable.name]))
    return keys, LegacyKeras(tuple(groups), None, None, None, tuple(top), tuple(optimizer))


def _v3(carried: list[Variable], layers: list[Group]) -> tuple[dict[str, str], Structure]:
    owned: list[tuple[str, str | None, Sequence[Variable]]] = [
        (each.path, each.name, each.variables) for each in layers
    ]
    placed = {variable.name for _, _, variables in owned for variable in variables}
    taken = {path for path, _, _ in owned}
    for path, kind in (("", False), ("optimizer", True)):
        loose = [each for each in carried if each.name not in placed and (each.kind == "slot") is kind]
        if loose:
            owned.append((f"{path or 'model'}_besides" if path in taken else path, None, loose))
    keys: dict[str, str] = {}
    groups = []
    for path, name, variables in owned:
        own = [f"{path}/vars/{number}".lstrip("/") for number in range(len(variables))]
        keys.update((variable.name, key) for variable, key in zip(variables, own, strict=True))
        groups.append(VarsGroup(path, name, tuple(own), None))
    return keys, KerasV3(tuple(groups))


class RenamedSource:
    """The tensors of an open checkpoint under other keys; goes to another process as the checkpoint does."""

    def __init__(self, checkpoint: Checkpoint, origin: Mapping[str, str]) -> None:
        self._checkpoint = checkpoint
        self._source = checkpoint.source
        self._origin = origin

    def __reduce__(self) -> tuple[object, ...]:
        return RenamedSource, (self._checkpoint, dict(self._origin))

    def restricted(self, keys: Iterable[str]) -> RenamedSource:
        """Its tensors `keys` only: what goes to the process that wants no others."""
        return RenamedSource(self._checkpoint, {key: self._origin[key] for key in keys})

    def behind(self, key: str) -> tuple[TensorSource, str]:
        """See `ForwardingSource.behind`."""
        return self._source, self._origin[key]

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """As `TensorSource.read_into`."""
        self._source.read_into(self._origin[key], offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """As `TensorSource.stream`."""
        return self._source.stream(self._origin[key], buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """As `TensorSource.read_strings`."""
        return self._source.read_strings(self._origin[key])

    def close(self) -> None:
        """The source behind is its opener's to close."""
