"""What a checkpoint is to ckptkit: plain data, and a source from which bytes are read on demand.

Two levels. A format module gives `Contents`: the tensors as the file names them, and the *evidence* the file holds
about their meaning (layer lists, an object graph, a graph's variable list, an architecture), uninterpreted.
`ckptkit.canonical` turns that into a `CheckpointSpec`: layers, roles, kinds and an order. `Checkpoint` binds a spec
to the source it can be read from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ckptkit import dtypes
from ckptkit.errors import FormatError, NotFoundError

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

Kind = Literal["weight", "slot", "state", "metadata"]
By = Literal["auto", "name", "order", "scope", "value"]
"""How variables of two checkpoints are paired."""
OrderSource = Literal["stored", "config", "object-graph", "meta-graph", "file-layout", "natural", "sorted"]

# The read unit of everything that streams: 1 Mi float32 elements. Larger units no longer raise throughput, smaller
# ones pay for more system calls (measured on the benchmark pair of 386 tensors).
CHUNK_BYTES = 4 << 20


# ---------------------------------------------------------------------------------------------- tensors and their bytes


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and canonical dtype of a tensor; no data."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value in C order; 0 for strings, whose length only their data tells."""
        return self.size * dtypes.itemsize(self.dtype)


class TensorSource(Protocol):
    """Where tensor bytes come from. Keys are native; bytes are little-endian, in C order, of the canonical dtype.

    Every method raises a `CkptkitError` that names file and key, and never returns less than it was asked for.
    All reading methods may be called from several threads at once.
    """

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes of tensor `key` that begin at byte `offset`. No checksum is looked at."""

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in order, in pieces of at most `len(buffer)`, each a view of `buffer`.

        The stored checksum, if the format has one, is verified: `ChecksumError` is raised at the latest after the
        last piece, so nothing may be concluded from the bytes before the iterator has ended.
        """

    def read_strings(self, key: str) -> list[bytes]:
        """The elements of a `string` tensor in C order."""

    def close(self) -> None:
        """Give back files; idempotent."""


# ------------------------------------------------------------------------------------- what a format module hands over


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as the file names it.

    Attributes:
        key: native and unique: HDF5 dataset path (inside the weights member for a `.keras`), bundle key, …
        shape: its dimensions.
        dtype: canonical dtype.
        nbytes: bytes the value takes: `TensorSpec.nbytes`, or the stored length for strings.
        aliases: other names that the file itself has for it, such as an entry of `weight_names`.
        trainable: what the file says of it, or None when it says nothing.
        problem: why the data cannot be read, or None when nothing speaks against it.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    aliases: tuple[str, ...] = ()
    trainable: bool | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LegacyGroup:
    """One entry of a legacy Keras file's `layer_names` with its `weight_names`, in stored order."""

    name: str
    weights: tuple[tuple[str, str], ...]
    """(weight name as stored, key of its dataset); the stored name is `param_N` in Keras 0.x files."""


@dataclass(frozen=True, slots=True)
class LegacyKeras:
    """Evidence in Keras's legacy HDF5 layout (0.x, 1.x, 2.x, tf.keras, Keras 3's `.h5`)."""

    groups: tuple[LegacyGroup, ...]
    keras_version: str | None
    backend: str | None
    config: Mapping[str, Any] | None
    """The parsed `model_config`, or None; JSON data only, nothing in it is ever imported or run."""
    top_level: tuple[tuple[str, str], ...] = ()
    """(weight name, key) of the `top_level_model_weights` group."""
    optimizer: tuple[tuple[str, str], ...] = ()
    """(weight name, key) of the `optimizer_weights` group, in stored order."""


@dataclass(frozen=True, slots=True)
class VarsGroup:
    """A `vars` group of Keras 3's layout, or a group that owns one."""

    path: str
    """Path of the owning object without `/vars`, `/` between parts whatever the file uses (`layers/dense_1`)."""
    name: str | None
    """The `name` attribute: the layer's own name; None in files of early versions."""
    keys: tuple[str, ...]
    """Keys of `vars/0`, `vars/1`, … in numeric order."""
    address: int | None
    """HDF5 object address of the group; rises in the order of writing. None where not known (sharded weights)."""


@dataclass(frozen=True, slots=True)
class KerasV3:
    """Evidence in Keras 3's layout (`.weights.h5`, sharded weights, `.keras` of 2.13 and later)."""

    groups: tuple[VarsGroup, ...]
    """In the file's own order: by address where known, else as listed."""
    keras_version: str | None = None
    config: Mapping[str, Any] | None = None
    """The parsed `config.json`, or None."""


@dataclass(frozen=True, slots=True)
class GraphAttribute:
    """A saved attribute of an object-graph node."""

    name: str
    """`VARIABLE_VALUE` for a variable."""
    full_name: str
    """The variable's own name (`lstm/lstm_cell/kernel`); may be empty."""
    key: str
    """The bundle key."""


@dataclass(frozen=True, slots=True)
class GraphSlot:
    """A slot variable: `slot_name` of the optimizer node that lists it, for node `original`, kept in node `slot`."""

    original: int
    slot_name: str
    slot: int


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One trackable object."""

    children: tuple[tuple[str, int], ...] = ()
    attributes: tuple[GraphAttribute, ...] = ()
    slots: tuple[GraphSlot, ...] = ()
    identifier: str | None = None
    """SavedModel only: `_tf_keras_layer`, `_tf_keras_model`, …"""
    metadata: Mapping[str, Any] | None = None
    """SavedModel only: the parsed Keras metadata (class_name, config, trainable …)."""


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """A `TrackableObjectGraph`; node 0 is the root. Ids are checked: every child and slot is a valid index."""

    nodes: tuple[GraphNode, ...]


@dataclass(frozen=True, slots=True)
class MetaVariable:
    """A variable as a TF1 `MetaGraphDef` lists it."""

    name: str
    trainable: bool
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """Variables of a `.meta` file (or a SavedModel's graph), in order of creation."""

    variables: tuple[MetaVariable, ...]
    ops: Mapping[str, str] = field(default_factory=dict)
    """Name -> type of the graph's nodes that a convention can need (`Conv2D`, `MatMul`, …); may be empty."""


Structure = LegacyKeras | KerasV3 | ObjectGraph


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a format module found, before anything is made of it.

    Attributes:
        format: name of the format: `keras-h5`, `keras-weights-h5`, `keras`, `keras-sharded`, `tensor-bundle`,
            `tf-v1`, `saved-model`, `safetensors`, `npz`, `hdf5` (datasets without Keras's layout).
        producer: who wrote it, as the file says, in words ("Keras 2.4.0, tensorflow"); None when it does not.
        tensors: every tensor, in the file's own order.
        structure: the richest evidence there is, or None.
        meta_graph: what a `.meta` beside a TF1 checkpoint tells, or None.
        notes: what a person should know of how the file was read ("latest of 3 checkpoints in the folder").
        damage: what is wrong with it; the tensors concerned carry a `problem`.
    """

    format: str
    producer: str | None
    tensors: tuple[StoredTensor, ...]
    structure: Structure | None = None
    meta_graph: MetaGraph | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------- canonical map


@dataclass(frozen=True, slots=True)
class Variable:
    """One tensor of the canonical map.

    Attributes:
        name: canonical and unique: layer path, then role or the best other word.
        key: native (see `StoredTensor.key`).
        aliases: other names that the file knows for it.
        layer: name of its `Layer`; "" for a variable that belongs to none.
        role: Keras's word for what it is, or None when nobody knows.
        kind: `weight`, `slot` (of an optimizer), `state` (counters, moving averages' bookkeeping, RNN states, metrics, seeds)
            or `metadata` (the object graph itself).
        slot_of: canonical name of the variable that a slot belongs to, or None.
    """

    name: str
    key: str
    aliases: tuple[str, ...]
    layer: str
    role: str | None
    kind: Kind
    slot_of: str | None
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    trainable: bool | None = None
    problem: str | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Content of a tensor, independent of its name.

    Attributes:
        shape: its dimensions.
        dtype: canonical dtype.
        ordered: hash over the bytes in C order; equal for equal tensors.
        unordered: sum (mod 2**128) over elements of a mixed function of their bits: does not change under transposition,
            reshape or permutation, and the sum over the parts of a join is that of the whole.
        constant: all elements are equal (zeros, ones), so that the content identifies nothing.
    """

    shape: tuple[int, ...]
    dtype: str
    ordered: bytes
    unordered: int
    constant: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One logical parameter of a layer in the reference layout, which is that of Keras 3."""

    role: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """One reading of a layer by a row of the convention tables: what it is, and its parameters as Keras 3 has them.

    Attributes:
        row: id of the row (`rnn_cell/LSTMCell`), by which the planner finds it again.
        kind: Keras's class word for it (`LSTM`).
        parts: logical parameters with their reference shapes; equal parts are what makes two layers compatible.
        dims: sizes of the row's symbolic dimensions, solved from the shapes (`{"I": 100, "H": 64}`).
        natives: (role or suffix in the row, canonical variable name) of the layer's variables that the row explains.
        assumed: facts that the file does not tell and the row takes for granted, as `key=value` (`forget_bias=1.0`).
        options: facts about the maths that weights alone do not carry and that must agree (`reset_after=True`).
    """

    row: str
    kind: str
    parts: tuple[Part, ...]
    dims: Mapping[str, int] = field(default_factory=dict)
    natives: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that owns variables.

    Attributes:
        name: canonical path, unique; "" never occurs.
        kind: Keras's class word where the file or its shapes tell (`Dense`), else None.
        variables: canonical names of its own variables (not those of sub-layers), in the framework's order.
        calls: how often the architecture calls it with the same weights; 1 when not known.
        dialect: whose names these are: `keras0`, `keras1`, `keras2`, `keras3`, `tf_layers`, `rnn_cell`, `slim`, `sonnet1`,
            `sonnet2`, or `plain` (nothing recognised).
        config: the layer's own configuration from the architecture, or None.
        forms: readings by the convention tables, the likeliest first; empty for a layer nobody knows.
    """

    name: str
    kind: str | None
    variables: tuple[str, ...]
    calls: int = 1
    dialect: str = "plain"
    config: Mapping[str, Any] | None = None
    forms: tuple[Form, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointSpec:
    """The canonical map without data.

    `layers` are the weight-bearing ones in order, `variables` all of them: those of the layers first, layer by layer,
    then what belongs to none. Every tensor of the file is in `variables` exactly once.
    """

    path: str
    format: str
    producer: str | None
    order_source: OrderSource
    layers: tuple[Layer, ...]
    variables: tuple[Variable, ...]
    weightless: tuple[tuple[str, str | None], ...] = ()
    """(name, class) of the architecture's layers that have no weights, in order."""
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()


class LazyVariable:
    """A variable whose bytes are read when asked for.

    Attributes of `Variable` (`name`, `shape`, `dtype`, `role` …) are readable on it directly.
    """

    __slots__ = ("_source", "spec")

    def __init__(self, spec: Variable, source: TensorSource) -> None:
        self.spec = spec
        self._source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "spec":
            raise AttributeError(name)
        return getattr(self.spec, name)

    def __repr__(self) -> str:
        return f"<variable {self.spec.name!r} {list(self.spec.shape)} {self.spec.dtype}>"

    def read(self) -> np.ndarray:
        """The whole value, checksum verified: an array of `shape`, of `object` items (`bytes`) for strings.

        Raises:
            CkptkitError: the data is missing, cut short or does not match its checksum.
        """
        return read_tensor(self._source, self.spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = self.read()
        return value if dtype is None else value.astype(dtype)


def read_tensor(source: TensorSource, tensor: StoredTensor | Variable) -> np.ndarray:
    """The whole value of `tensor`, checksum verified: an array of its shape, of `bytes` objects for strings.

    Raises:
        CkptkitError: the data is missing, cut short or does not match its checksum.
    """
    import numpy as np

    if tensor.problem:
        raise FormatError(tensor.problem, key=tensor.key)
    if tensor.dtype == "string":
        strings = np.empty(math.prod(tensor.shape), dtype=object)
        strings[:] = source.read_strings(tensor.key)
        return strings.reshape(tensor.shape)
    value = np.empty(tensor.shape, dtype=dtypes.numpy_dtype(tensor.dtype))
    if value.nbytes:
        whole = memoryview(value.reshape(-1).view(np.uint8).data)
        buffer = memoryview(bytearray(min(len(whole), CHUNK_BYTES)))
        at = 0
        for piece in source.stream(tensor.key, buffer):
            whole[at : at + len(piece)] = piece
            at += len(piece)
    return value


class Checkpoint(Mapping[str, LazyVariable]):
    """An open checkpoint: a mapping from canonical or native name to a lazy variable, and a context manager.

    Iteration gives canonical names in order. Looking up accepts the canonical name, the native key or an alias that is
    unique in the file.

    Example:
        >>> with ckptkit.open("model.weights.h5") as checkpoint:  # doctest: +SKIP
        ...     checkpoint["dense/kernel"].read()
    """

    def __init__(self, spec: CheckpointSpec, source: TensorSource) -> None:
        self.spec = spec
        self.source = source
        self._variables = {variable.name: variable for variable in spec.variables}
        self._other_names: dict[str, str | None] | None = None

    @property
    def path(self) -> str:
        """As it was given to `open`."""
        return self.spec.path

    @property
    def format(self) -> str:
        """Name of the format (see `Contents.format`)."""
        return self.spec.format

    @property
    def producer(self) -> str | None:
        """Who wrote the file, as far as it says."""
        return self.spec.producer

    @property
    def order_source(self) -> OrderSource:
        """Where the order of the layers comes from."""
        return self.spec.order_source

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that own variables, in order."""
        return self.spec.layers

    def find(self, name: str) -> Variable:
        """The variable called `name`, by canonical name, native key or unique alias.

        Raises:
            NotFoundError: there is none; the hint carries the nearest names.
        """
        found = self._variables.get(name)
        if found is None:
            canonical = self._aliases().get(name)
            found = None if canonical is None else self._variables[canonical]
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, [*self._variables, *self._aliases()], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"`ckptkit inspect {self.path}` lists them."
            raise NotFoundError("no such variable", path=self.path, key=name, hint=hint)
        return found

    def _aliases(self) -> dict[str, str | None]:
        """Native keys and aliases -> canonical name; None where several variables share the alias."""
        if self._other_names is None:
            names: dict[str, str | None] = {}
            for variable in self.spec.variables:
                for alias in dict.fromkeys(variable.aliases):
                    names[alias] = None if alias in names else variable.name
            names.update((variable.key, variable.name) for variable in self.spec.variables)
            self._other_names = names
        return self._other_names

    def __getitem__(self, name: str) -> LazyVariable:
        try:
            return LazyVariable(self.find(name), self.source)
        except NotFoundError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path!r} ({self.format}): {len(self.layers)} layers, {len(self)} variables>"

    def close(self) -> None:
        """Give back files; idempotent."""
        self.source.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
