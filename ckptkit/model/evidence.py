"""What a format module hands over: tensors as the file names them, and evidence of their meaning, uninterpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    """Rises in the order of writing: the highest HDF5 address of the group and what it owns (a lone object may fill an
    earlier gap), or the place in the index of sharded weights. None where not known."""


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
            `tf-v1`, `saved-model`, `safetensors`, `safetensors-sharded`, `npz`, `hdf5` (datasets without Keras's layout).
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
