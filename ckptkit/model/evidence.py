"""What a format module hands over: tensors as the file names them, and evidence of their meaning, uninterpreted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ckptkit.model.assets import StoredAsset


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
class GraphOp:
    """A node of a `GraphDef`: its name, its type, and the nodes whose values it takes, in order."""

    name: str
    type: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """Variables of a `.meta` file (or a SavedModel's graph), in order of creation."""

    variables: tuple[MetaVariable, ...]
    ops: Mapping[str, str] = field(default_factory=dict)
    """Name -> type of the graph's nodes that a convention can need (`Conv2D`, `MatMul`, …); may be empty."""
    read_nodes: Callable[[], tuple[GraphOp, ...]] | None = field(default=None, compare=False, repr=False)
    """Gives what runs forwards in the graph, in stored order; None where it is too large to be worth it."""


@dataclass(frozen=True, slots=True)
class PickledState:
    """What a file of `torch.save` holds: dictionaries within dictionaries, and tensors in them."""

    places: Mapping[str, tuple[str, ...]]
    """Key of a tensor -> the keys of the dictionaries that lead to it; a list's are its numbers."""
    modules: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """Path of a `state_dict` -> paths of all modules, in order of registration, as its `_metadata` lists them."""
    plain: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    """Numbers, texts and lists of them beside the tensors, by path."""
    tied: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    """Pairs of paths that lead to the same elements of one storage."""
    unordered: bool = False
    """Whether it was made from a file that told no order of the tensors, so that theirs here says nothing."""


@dataclass(frozen=True, slots=True)
class TreeLeaf:
    """A leaf of a tree: its tensor, and the keys that lead to it from the root."""

    key: str
    path: tuple[str, ...]
    """Keys of mappings, names of attributes and places in sequences; a key may itself hold `/` or `.`."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Evidence in a tree of arrays, as JAX's libraries save them (Orbax, Flax's msgpack)."""

    leaves: tuple[TreeLeaf, ...]
    """In the file's order, which is that of the alphabet as often as not."""
    config: Mapping[str, Any] | None = None
    """The parsed architecture of a Keras model that was saved with its tree, or None."""


Structure = LegacyKeras | KerasV3 | ObjectGraph | PickledState | Tree

TOP_LEVEL, OPTIMIZER = "/top_level_model_weights", "/optimizer_weights"
"""Groups of a `Layout` of the legacy kind that are no layers."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a Keras container keeps a tensor, or kept it before it came here.

    Attributes:
        key: of the tensor, native to the file at hand.
        group: path of its group: the layer's in the legacy layout, that of the owner of `vars` in Keras 3's; "" for none.
        word: its name in `weight_names` of that group (legacy), or the `name` attribute of the group (Keras 3).
    """

    key: str
    group: str = ""
    word: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of a checkpoint's weights, and how a Keras container groups them.

    What loads by order or class number needs it; it travels in containers that are written from such a one.

    Attributes:
        kind: whose groups they are: `legacy`, `v3`, or `order` where there are none.
        places: in the order of the file that they were first read from.
    """

    kind: Literal["legacy", "v3", "order"]
    places: tuple[Placed, ...]


def layout_in(structure: Structure | None) -> Layout | None:
    """The groups of a Keras container, in its order; None for what is none."""
    if isinstance(structure, LegacyKeras):
        groups = [(group.name, group.weights) for group in structure.groups]
        groups += [(TOP_LEVEL, structure.top_level), (OPTIMIZER, structure.optimizer)]
        return Layout("legacy", tuple(Placed(key, name, word) for name, pairs in groups for word, key in pairs))
    if isinstance(structure, KerasV3):
        ordered = sorted(structure.groups, key=lambda group: group.address or 0)
        return Layout("v3", tuple(Placed(key, each.path, each.name or "") for each in ordered for key in each.keys))
    return None


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a format module found, before anything is made of it.

    Attributes:
        format: name of the format: `keras-h5`, `keras-weights-h5`, `keras`, `keras-sharded`, `tensor-bundle`,
            `tf-v1`, `saved-model`, `safetensors`, `safetensors-sharded`, `npz`, `torch`, `torch-sharded`,
            `torch-distributed`, `orbax`, `flax-msgpack`, `hdf5` (datasets without Keras's layout).
        producer: who wrote it, as the file says, in words ("Keras 2.4.0, tensorflow"); None when it does not.
        tensors: every tensor, in the file's own order.
        structure: the richest evidence there is, or None.
        meta_graph: what a `.meta` beside a TF1 checkpoint tells, or None.
        layout: what travelled here with the weights from a container that knew their order, or None.
        notes: what a person should know of how the file was read ("latest of 3 checkpoints in the folder").
        damage: what is wrong with it; the tensors concerned carry a `problem`.
        assets: what it holds beside tensors.
        wants: classes and functions, as `module.name`, that a pickle in it would call; they are shown and never looked up.
    """

    format: str
    producer: str | None
    tensors: tuple[StoredTensor, ...]
    structure: Structure | None = None
    meta_graph: MetaGraph | None = None
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    assets: tuple[StoredAsset, ...] = ()
    wants: tuple[str, ...] = ()
