"""The canonical map: layers, roles, kinds and an order, without data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ckptkit.model.assets import Asset
from ckptkit.model.evidence import Layout, TreeLeaf
from ckptkit.model.tensors import TensorSpec

Kind = Literal["weight", "slot", "state", "metadata"]
By = Literal["auto", "name", "order", "scope", "value"]
"""How variables of two checkpoints are paired."""
Depth = Literal["sample", "full"]
"""What a plan takes of a tensor whose file stores no checksum: three places of 4,096 bytes, or all of it."""
OrderSource = Literal[
    "stored",
    "config",
    "object-graph",
    "meta-graph",
    "file-layout",
    "natural",
    "attributes",
    "sorted",
    "registration",
]
"""Where the order of layers comes from. `registration` is that of a `state_dict`, in which modules were assigned.
`attributes` is the alphabet in which Keras 3 walks the attributes of a subclass and `sorted` that of names: neither is an
order of layers."""

HANDLES = frozenset({"variant", "resource"})
"""Types of an iterator's state and the like: no numbers, and the business of the process that made them."""


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
        copy_of: canonical name of the variable of which the file holds this as a second copy, or None. A copy is `state`: it
            follows its variable and is never looked for.
        doubtful: whether it may be an optimizer's or a metric's, and little but its name says so. It is a weight: it moves
            and counts in verdicts; where one side lacks it, that is said and refuses nothing.
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
    copy_of: str | None = None
    doubtful: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def stored(self) -> TensorSpec:
        """It as its source knows it: under its native key."""
        return TensorSpec(self.key, self.shape, self.dtype)

    @property
    def opaque(self) -> bool:
        """Whether its type has no data that could be read (TensorFlow's `variant` and `resource`), as an iterator's state."""
        return self.dtype in HANDLES


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
        of: the kind that the layer itself is, where this reading takes it for another one that computes the same (a
            convolution of width 1 for a `Dense`); "" for a reading of its own kind, which is always the likelier one.
    """

    row: str
    kind: str
    parts: tuple[Part, ...]
    dims: Mapping[str, int] = field(default_factory=dict)
    natives: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that owns variables.

    Attributes:
        name: canonical path, unique; "" never occurs.
        kind: Keras's class word where the file or its shapes tell (`Dense`), else None.
        variables: canonical names of its own variables (not those of sub-layers), in the framework's order.
        calls: how often the architecture calls it with the same weights; 1 when not known.
        dialect: whose names these are: `keras0`, `keras1`, `keras2`, `keras3`, `tf_layers`, `rnn_cell`, `slim`, `sonnet1`,
            `sonnet2`, `torch`, or `plain` (nothing recognised).
        config: the layer's own configuration from the architecture, or None.
        forms: readings by the convention tables, the likeliest first; empty for a layer nobody knows. More than one where
            the file does not tell which it is.
        aliases: every other path that the file knows for it: its stored or automatic name, the scope of its variables'
            full names, its group or its path of attributes. Not unique: two layers can share one.
        ordered: whether its place among the ordered layers beside it (those with the same path around them) is an order
            of creation or of calls. False below attributes that were walked by the alphabet, and in a nested model whose
            trainable weights were written before its frozen ones.
        feeds: what reaches it through layers and operations without weights, in the order of call arguments: names of
            layers, and `input:N` for the model's N-th input; the union over all calls. None where no graph is known, and
            until it is asked for (see `CheckpointSpec.with_flow`).
        passes: (name of a feed, what its output goes through on the way here), as far as that gives its features another
            number or order: `flatten` (also a reshape), `join` (with other features) or `other` (nobody knows). None where
            nothing of it is known.
    """

    name: str
    kind: str | None
    variables: tuple[str, ...]
    calls: int = 1
    dialect: str = "plain"
    config: Mapping[str, Any] | None = None
    forms: tuple[Form, ...] = ()
    aliases: tuple[str, ...] = ()
    ordered: bool = True
    feeds: tuple[str, ...] | None = None
    passes: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph between layers.

    Attributes:
        feeds: see `Layer.feeds`, by layer path; layers of which nothing is known are missing.
        outputs: see `CheckpointSpec.outputs`.
        passes: see `Layer.passes`, by layer path; None where the graph does not tell.
        inputs: see `CheckpointSpec.inputs`.
    """

    feeds: Mapping[str, tuple[str, ...]]
    outputs: tuple[tuple[str, ...], ...] | None = None
    passes: Mapping[str, tuple[tuple[str, str], ...]] | None = None
    inputs: tuple[tuple[int | None, ...] | None, ...] = ()


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
    outputs: tuple[tuple[str, ...], ...] | None = None
    """For each output of the model what reaches it, as `Layer.feeds` has it; None where none is known or read yet."""
    inputs: tuple[tuple[int | None, ...] | None, ...] = ()
    """Shape of each input of the model without the batch, None where it is not known; with the graph."""
    assets: tuple[Asset, ...] = ()
    """Vocabularies, tables and settings: what the file holds beside tensors that decides what they mean."""
    layout: Layout | None = None
    """The groups that a Keras container has for the variables, or had before they came here; keys are native."""
    architecture: Mapping[str, Any] | None = None
    """The architecture in the file, as parsed; nothing in it is ever imported or run."""
    wants: tuple[str, ...] = ()
    """See `Contents.wants`; a file that wants anything is listed, and nothing is concluded from it or made of it."""
    tree: tuple[TreeLeaf, ...] = ()
    """The paths of all variables where the container is a tree; keys are native."""
    read_flow: Callable[[], Flow | None] | None = field(default=None, compare=False, repr=False)
    """Makes out the graph between the layers, which takes time where it is large; None where there is none."""

    def with_flow(self) -> CheckpointSpec:
        """The same with the graph between the layers: `Layer.feeds` and `outputs`."""
        flow = self.read_flow() if self.read_flow is not None else None
        if flow is None:
            return replace(self, read_flow=None)
        passes = flow.passes
        layers = tuple(
            replace(
                layer,
                feeds=flow.feeds.get(layer.name),
                passes=passes.get(layer.name) if passes is not None else None,
            )
            for layer in self.layers
        )
        return replace(self, layers=layers, outputs=flow.outputs, inputs=flow.inputs, read_flow=None)
