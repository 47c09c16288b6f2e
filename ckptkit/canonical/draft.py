"""What the reader of one kind of evidence hands to `assemble`: tensors put into layers, in order, not yet named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptkit.model import Flow, Kind, OrderSource


@dataclass(frozen=True, slots=True)
class Member:
    """A tensor that belongs to a layer.

    Attributes:
        key: the native key.
        layer: path of the layer; never empty.
        word: its name below the layer in the file's own words (`kernel`, `gates/kernel`, `vars/0`).
        role: Keras's word, where the evidence tells it better than `word` does.
        aliases: names that the evidence adds to those of the file.
    """

    key: str
    layer: str
    word: str
    role: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aside:
    """A tensor that belongs to no layer: a slot, a counter, a metric, an object graph, or something unknown.

    Attributes:
        key: the native key.
        name: the canonical name it should get; below the name of the variable for a slot whose `slot_of` is known.
        kind: what it is.
        slot_of: native key of the variable that a slot belongs to.
        aliases: names that the evidence adds to those of the file.
        copy_of: native key of the variable that this is a second copy of.
    """

    key: str
    name: str
    kind: Kind
    slot_of: str | None = None
    aliases: tuple[str, ...] = ()
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What is known of a layer beside its tensors.

    Attributes:
        kind: Keras's class word.
        calls: see `Layer.calls`.
        config: see `Layer.config`.
        called: what its framework calls it, where its path does not say (`depthwise_conv2d` for `module`).
        aliases: see `Layer.aliases`.
        ordered: see `Layer.ordered`.
        placed: whether its variables are known by nothing but their places (`vars/0`), so that any row may fit.
        unsure: whether `kind` is None because several fit: the names made of what they agree on tell no more.
    """

    kind: str | None = None
    calls: int = 1
    config: Mapping[str, Any] | None = None
    called: str | None = None
    aliases: tuple[str, ...] = ()
    ordered: bool = True
    placed: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class MapDraft:
    """A canonical map before naming.

    Attributes:
        members: tensors of layers; layers come in the order in which they first appear here.
        asides: all the others that the evidence explains.
        order_source: where the order of `members` comes from.
        dialects: whose names these can be, the likeliest first.
        facts: by layer path; layers without facts may be missing.
        keep_order: whether the order of members within a layer is the framework's own; else the tables give it.
        weightless: see `CheckpointSpec.weightless`.
        notes: what a person should know.
        doubtful: keys of members that may be an optimizer's or a metric's; see `Variable.doubtful`.
        read_flow: see `CheckpointSpec.read_flow`.
    """

    members: tuple[Member, ...]
    asides: tuple[Aside, ...]
    order_source: OrderSource
    dialects: tuple[str, ...]
    facts: Mapping[str, LayerFacts] = field(default_factory=dict)
    keep_order: bool = True
    weightless: tuple[tuple[str, str | None], ...] = ()
    notes: tuple[str, ...] = ()
    doubtful: frozenset[str] = frozenset()
    read_flow: Callable[[], Flow | None] | None = None
