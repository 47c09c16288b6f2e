"""Hand-made contents: what a reader would hand over, without a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ckptkit import canonical
from ckptkit.model import (
    CheckpointSpec,
    Contents,
    GraphAttribute,
    GraphNode,
    KerasV3,
    LegacyGroup,
    LegacyKeras,
    MetaGraph,
    MetaVariable,
    ObjectGraph,
    StoredTensor,
    VarsGroup,
)

Shapes = Mapping[str, tuple[int, ...]]

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def tensor(key: str, shape: tuple[int, ...], dtype: str = "float32") -> StoredTensor:
    return StoredTensor(key, shape, dtype, 4)


def flat(shapes: Shapes, created: Sequence[str] = (), container: str = "tensor-bundle") -> Contents:
    """A name-based checkpoint; int64 where there are no axes."""
    tensors = tuple(tensor(key, shape, "float32" if shape else "int64") for key, shape in shapes.items())
    meta = MetaGraph(tuple(MetaVariable(name, True) for name in created)) if created else None
    return Contents(container, None, tensors, None, meta)


def legacy(
    groups: Mapping[str, Shapes],
    version: str | None = "2.4.0",
    config: Mapping[str, Any] | None = None,
    optimizer: Shapes | None = None,
) -> Contents:
    """A legacy Keras file: group -> weight name -> shape."""
    tensors = []
    listed = []
    for group, weights in groups.items():
        pairs = tuple((name, f"{group}/{name}") for name in weights)
        listed.append(LegacyGroup(group, pairs))
        tensors += [tensor(key, weights[name]) for name, key in pairs]
    slots = tuple((name, f"optimizer_weights/{name}") for name in optimizer or {})
    tensors += [tensor(key, (optimizer or {})[name]) for name, key in slots]
    return Contents("keras-h5", None, tuple(tensors), LegacyKeras(tuple(listed), version, None, config, (), slots))


def v3(
    groups: Mapping[str, Sequence[tuple[int, ...]]],
    names: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    version: str | None = None,
    addresses: bool = True,
) -> Contents:
    """Keras 3's layout: path -> shapes of `vars/0`, `vars/1` …; addresses rise in the order given."""
    tensors = []
    listed = []
    for place, (path, shapes) in enumerate(groups.items()):
        keys = tuple(f"{path}/vars/{number}" for number in range(len(shapes)))
        name = (names or {}).get(path)
        listed.append(VarsGroup(path, name, keys, 100 * place if addresses else None))
        tensors += [tensor(key, shape, _dtype(key, shape)) for key, shape in zip(keys, shapes, strict=True)]
    return Contents("keras-weights-h5", None, tuple(tensors), KerasV3(tuple(listed), version, config))


def _dtype(key: str, shape: tuple[int, ...]) -> str:
    """Optimizers count in integers, and seeds are such."""
    if "/seed_generator/" in key:
        return "uint32"
    return "int64" if key == "optimizer/vars/0" and not shape else "float32"


class Graph:
    """Builds an object graph and the tensors of its variables."""

    def __init__(self) -> None:
        self.children: list[list[tuple[str, int]]] = [[]]
        self.attributes: dict[int, GraphAttribute] = {}
        self.tensors: list[StoredTensor] = []
        self.metadata: dict[int, Mapping[str, Any]] = {}

    def add(self, parent: int, name: str) -> int:
        """A new object under `parent`."""
        self.children.append([])
        self.children[parent].append((name, len(self.children) - 1))
        return len(self.children) - 1

    def variable(self, parent: int, name: str, key: str, shape: tuple[int, ...], full_name: str = "") -> int:
        """A new variable under `parent`; int64 where there are no axes."""
        node = self.add(parent, name)
        self.attributes[node] = GraphAttribute("VARIABLE_VALUE", full_name, key + VALUE)
        self.tensors.append(tensor(key + VALUE, shape, "float32" if shape else "int64"))
        return node

    def contents(self) -> Contents:
        nodes = tuple(
            GraphNode(
                tuple(children),
                (self.attributes[node],) if node in self.attributes else (),
                metadata=self.metadata.get(node),
            )
            for node, children in enumerate(self.children)
        )
        return Contents("tensor-bundle", None, tuple(self.tensors), ObjectGraph(nodes))


def layer(class_name: str, name: str, calls: int = 1, **config: Any) -> dict[str, Any]:
    """A serialised layer of a functional model."""
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [[["x", 0, 0, {}]]] * calls,
    }


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    """A serialised functional model."""
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


def built(contents: Contents) -> CheckpointSpec:
    """The canonical map, after the laws that hold for every map are checked."""
    spec = canonical.build(contents, "made")
    names = [variable.name for variable in spec.variables]
    assert len(set(names)) == len(names)
    assert sorted(variable.key for variable in spec.variables) == sorted(t.key for t in contents.tensors)
    owned = [name for layer in spec.layers for name in layer.variables]
    assert owned == names[: len(owned)]
    by_name = {variable.name: variable for variable in spec.variables}
    for item in spec.layers:
        assert item.name
        assert all(by_name[name].layer == item.name for name in item.variables)
    assert all(variable.slot_of is None or variable.slot_of in by_name for variable in spec.variables)
    assert canonical.build(contents, "made") == spec
    return spec


def weights(spec: CheckpointSpec) -> list[str]:
    """Names of the weights in order."""
    return [variable.name for variable in spec.variables if variable.kind == "weight"]


def kinds(spec: CheckpointSpec) -> dict[str, str | None]:
    """Layer -> kind."""
    return {item.name: item.kind for item in spec.layers}


def roles(spec: CheckpointSpec, layer: str) -> list[str | None]:
    """Roles of a layer's variables."""
    return [variable.role for variable in spec.variables if variable.layer == layer]


def slots(spec: CheckpointSpec) -> dict[str, str | None]:
    """Slot -> the variable it belongs to."""
    return {variable.name: variable.slot_of for variable in spec.variables if variable.kind == "slot"}


def named(names: Iterable[str], shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The same shape under several names."""
    return dict.fromkeys(names, shape)
