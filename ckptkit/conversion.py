"""The same variables in another container: which name each gets there.

Naming, by target format (canonical name `encoder/dense/kernel`, layer `encoder/dense`):

| target | name |
|---|---|
| safetensors (also sharded), npz, TensorFlow bundle | the canonical name |
| Keras legacy HDF5 | group `encoder/dense`, weight `encoder/dense/kernel:0` |
| Keras 3 weights (also sharded) | `layers/encoder/dense/vars/N`, `name` attribute `encoder/dense` |

What belongs to no layer goes where that format keeps such things: `top_level_model_weights` and `optimizer_weights`, or
`vars` and `optimizer/vars`. A bundle's object graph and saved configurations describe the old container and are left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckptkit.errors import UnsupportedError, UsageError
from ckptkit.model import (
    Checkpoint,
    CheckpointSpec,
    Contents,
    KerasV3,
    LegacyGroup,
    LegacyKeras,
    StoredTensor,
    Structure,
    TensorSource,
    Variable,
    VarsGroup,
)

# File ending -> format; the first that fits. Anything else is the prefix of a TensorFlow bundle.
_ENDINGS = (
    (".weights.h5", "keras-weights-h5"),
    (".weights.json", "keras-sharded"),
    (".h5", "keras-h5"),
    (".hdf5", "keras-h5"),
    (".safetensors", "safetensors"),
    (".safetensors.index.json", "safetensors-sharded"),
    (".npz", "npz"),
)
FORMATS = (
    "keras-h5",
    "keras-weights-h5",
    "keras-sharded",
    "tensor-bundle",
    "safetensors",
    "safetensors-sharded",
    "npz",
)

# What can be read and cannot be made from variables alone, with what is missing.
_NEEDS_MORE = {
    "keras": "an architecture (config.json)",
    "saved-model": "a graph (saved_model.pb)",
    "tf-v1": "nothing that reads it today",
}


def target_format(path: str, wanted: str | None) -> str:
    """The format to write: the one asked for, else by the ending of `path`.

    Raises:
        UsageError: no such format.
        UnsupportedError: it cannot be made from variables alone.
    """
    ending = ".keras" if path.endswith(".keras") else ""
    found = wanted or ("keras" if ending else next((f for end, f in _ENDINGS if path.endswith(end)), "tensor-bundle"))
    if found in _NEEDS_MORE:
        raise UnsupportedError(
            f"{found} needs {_NEEDS_MORE[found]}, which variables alone do not give",
            path=path,
            hint="`ckptkit remap --like TEMPLATE` keeps a template's" if found != "tf-v1" else "Write a tensor-bundle",
        )
    if found not in FORMATS:
        raise UsageError("no such format", key=found, expected=f"one of {', '.join(FORMATS)}")
    return found


@dataclass(frozen=True, slots=True)
class Conversion:
    """A new container's contents, and where each of its tensors comes from.

    Attributes:
        contents: what the writer is given.
        origin: key in the new container -> native key in the old one.
        left: variables that the new container has no place for.
    """

    contents: Contents
    origin: Mapping[str, str]
    left: tuple[Variable, ...]


def plan_conversion(spec: CheckpointSpec, to: str) -> Conversion:
    """Name every variable of `spec` in format `to`."""
    left = tuple(variable for variable in spec.variables if _describes_container(variable))
    carried = [variable for variable in spec.variables if not _describes_container(variable)]
    if to == "keras-h5":
        keys, structure = _legacy(spec, carried)
    elif to in {"keras-weights-h5", "keras-sharded"}:
        keys, structure = _v3(spec, carried)
    else:
        keys, structure = {variable.name: variable.name for variable in carried}, None
    tensors = tuple(
        StoredTensor(
            keys[variable.name], variable.shape, variable.dtype, variable.nbytes,
            trainable=variable.trainable, problem=variable.problem,
        )
        for variable in carried
    )  # fmt: skip
    origin = {keys[variable.name]: variable.key for variable in carried}
    return Conversion(Contents(to, "ckptkit", tensors, structure), origin, left)


def _describes_container(variable: Variable) -> bool:
    """Whether it is an object graph, or a configuration that an object of it carries."""
    return variable.kind == "metadata" and (
        variable.key == "_CHECKPOINTABLE_OBJECT_GRAPH" or ".ATTRIBUTES/" in variable.key
    )


def _layers(spec: CheckpointSpec, carried: list[Variable]) -> tuple[list[tuple[str, list[Variable]]], list[Variable]]:
    """(layer name, its weights) in order, and the variables that no layer owns or that are no weights."""
    by_name = {variable.name: variable for variable in carried}
    owned = [
        (layer.name, [by_name[name] for name in layer.variables if name in by_name and by_name[name].kind == "weight"])
        for layer in spec.layers
    ]
    placed = {variable.name for _, variables in owned for variable in variables}
    return [(name, variables) for name, variables in owned if variables], [
        variable for variable in carried if variable.name not in placed
    ]


def _legacy(spec: CheckpointSpec, carried: list[Variable]) -> tuple[dict[str, str], Structure]:
    layers, loose = _layers(spec, carried)
    keys: dict[str, str] = {}
    groups = []
    for name, variables in layers:
        weights = tuple((f"{variable.name}:0", f"{name}/{variable.name}:0") for variable in variables)
        keys.update((variable.name, key) for variable, (_, key) in zip(variables, weights, strict=True))
        groups.append(LegacyGroup(name, weights))
    top: list[tuple[str, str]] = []
    optimizer: list[tuple[str, str]] = []
    for variable in loose:
        slot = variable.kind == "slot"
        keys[variable.name] = f"{'optimizer_weights' if slot else 'top_level_model_weights'}/{variable.name}:0"
        (optimizer if slot else top).append((f"{variable.name}:0", keys[variable.name]))
    return keys, LegacyKeras(tuple(groups), None, None, None, tuple(top), tuple(optimizer))


def _v3(spec: CheckpointSpec, carried: list[Variable]) -> tuple[dict[str, str], Structure]:
    layers, loose = _layers(spec, carried)
    owned: list[tuple[str, str | None, list[Variable]]] = [
        (f"layers/{name}", name, variables) for name, variables in layers
    ]
    for path, kind in (("", False), ("optimizer", True)):
        variables = [variable for variable in loose if (variable.kind == "slot") is kind]
        if variables:
            owned.append((path, None, variables))
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
