"""The canonical map: layers, roles, kinds and an order, without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["weight", "slot", "state", "metadata"]
By = Literal["auto", "name", "order", "scope", "value"]
"""How variables of two checkpoints are paired."""
OrderSource = Literal["stored", "config", "object-graph", "meta-graph", "file-layout", "natural", "sorted"]


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
