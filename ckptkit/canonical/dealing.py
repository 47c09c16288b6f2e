"""Slots without names: the weight each belongs to, by the optimizer's order of making them, where one answer is left.

An optimizer makes its slots for the trained weights in their order: one after the other, or all slots of a weight side by
side. Neither is in the file, nor is which weights were frozen. So every reading that fits the shapes is tried, and a slot is
given to a weight where all of them agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.canonical.naming import without_auto_suffix
from ckptkit.conventions.layout import Shape
from ckptkit.model import StoredTensor

Block = tuple[str, ...]
"""Slots that are made together: side by side for each weight."""

Dealt = Mapping[str, tuple[str, str | None]]
"""Key of a slot -> (key of its weight, what the optimizer calls it or None where that is open)."""

# Most slots of one weight that an unknown optimizer is thought to have.
_MOST_SLOTS = 4

# Blocks of Keras's optimizers by their snake-case names, in the order in which they are made; those in brackets hang on a
# setting, which is None where it is always made (keras/src/optimizers, tf_keras/src/optimizers; `build`).
_BLOCKS: Mapping[str, tuple[tuple[str | None, Block], ...]] = {
    "adam": ((None, ("momentum", "velocity")), ("amsgrad", ("velocity_hat",))),
    "adamw": ((None, ("momentum", "velocity")), ("amsgrad", ("velocity_hat",))),
    "nadam": ((None, ("momentum", "velocity")),),
    "lamb": ((None, ("momentum", "velocity")),),
    "adamax": ((None, ("momentum", "norm")),),
    "ftrl": ((None, ("accumulator", "linear")),),
    "adadelta": ((None, ("accumulated_grad", "accumulated_delta_var")),),
    "adagrad": ((None, ("accumulator",)),),
    "lion": ((None, ("momentum",)),),
    "sgd": (("momentum", ("momentum",)),),
    "rmsprop": ((None, ("velocity",)), ("momentum", ("momentum",)), ("centered", ("average_gradient",))),
}

# What Keras 2 calls some of them, in all but RMSprop (tf_keras/src/optimizers, `build`).
_OLD_WORDS = {"momentum": "m", "velocity": "v", "velocity_hat": "vhat", "norm": "u"}

# What every Keras optimizer makes before its own (keras/src/optimizers/base_optimizer.py, `build`).
_FIRST: tuple[tuple[str, Block], ...] = (
    ("use_ema", ("average",)),
    ("gradient_accumulation_steps", ("gradient_accumulator",)),
)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What is known of an optimizer.

    Attributes:
        name: its class or automatic name, or None.
        settings: its configuration, or None where the file has none.
        old: whether it is one of Keras 2.
    """

    name: str | None = None
    settings: Mapping[str, Any] | None = None
    old: bool = False

    def layouts(self) -> Iterator[tuple[Block, ...]]:
        """Every sequence of blocks that it may have made."""
        word = without_auto_suffix((self.name or "").lower()).replace("_", "")
        known = _BLOCKS.get(word)
        for first in self._chosen(_FIRST):
            if known is not None:
                for own in self._chosen(known):
                    yield (*first, *own)
            else:
                for count in range(1, _MOST_SLOTS + 1):
                    words = tuple(f"slot_{number}" for number in range(count))
                    yield (*first, words)
                    if count > 1:
                        yield (*first, *((word,) for word in words))

    def spelled(self, word: str) -> str:
        """What this optimizer calls a slot."""
        word_of = {} if not self.old or "rms" in (self.name or "").lower() else _OLD_WORDS
        return word_of.get(word, word)

    def _chosen(self, blocks: Iterable[tuple[str | None, Block]]) -> list[tuple[Block, ...]]:
        """Which of `blocks` there are; both ways where a setting is not known."""
        chosen: list[tuple[Block, ...]] = [()]
        for setting, block in blocks:
            if setting is None or (self.settings is not None and self.settings.get(setting)):
                chosen = [(*before, block) for before in chosen]
            elif self.settings is None:
                chosen = [*chosen, *((*before, block) for before in chosen)]
        return chosen


def deal(
    slots: Sequence[StoredTensor],
    weights: Sequence[StoredTensor],
    optimizer: Optimizer,
    *,
    ordered: bool,
    trained: bool,
) -> Dealt:
    """Give unnamed slots to weights.

    Args:
        slots: in stored order, counters left out.
        weights: those that can be trained.
        optimizer: whose slots they are.
        ordered: whether `weights` are in the order in which the optimizer was given them.
        trained: whether they are known to be exactly those that it was given.
    """
    readings: list[Dealt] = []
    for blocks in optimizer.layouts():
        each = sum(map(len, blocks))
        if not each or not slots or len(slots) % each:
            continue
        table = _table(slots, blocks, len(slots) // each)
        if table is None or len(table) > len(weights) or (trained and len(table) != len(weights)):
            continue
        owners = _embedded(table, weights) if ordered else _by_shape(table, weights)
        if owners is not None:
            words = [optimizer.spelled(word) for block in blocks for word in block]
            readings.append(
                {
                    slot.key: (owner, word)
                    for row, owner in zip(table, owners, strict=True)
                    for slot, word in zip(row, words, strict=True)
                    if owner is not None
                }
            )
    return _agreed(readings)


def _table(slots: Sequence[StoredTensor], blocks: Sequence[Block], count: int) -> list[list[StoredTensor]] | None:
    """The slots of each of `count` trained weights under one layout; None where their shapes differ."""
    table: list[list[StoredTensor]] = [[] for _ in range(count)]
    at = 0
    for block in blocks:
        for row in table:
            row.extend(slots[at : at + len(block)])
            at += len(block)
    return table if all(slot.shape == row[0].shape for row in table for slot in row) else None


def _embedded(table: Sequence[Sequence[StoredTensor]], weights: Sequence[StoredTensor]) -> list[str | None] | None:
    """Owner of each row where the first and the last way to leave out frozen weights agree; None where none fits."""
    shapes = [row[0].shape for row in table]
    first = _leftmost(shapes, [weight.shape for weight in weights])
    last = _leftmost(shapes[::-1], [weight.shape for weight in reversed(weights)])
    if first is None or last is None:
        return None
    back = [len(weights) - 1 - place for place in reversed(last)]
    return [weights[one].key if one == other else None for one, other in zip(first, back, strict=True)]


def _leftmost(shapes: Sequence[Shape], among: Sequence[Shape]) -> list[int] | None:
    places = []
    at = 0
    for shape in shapes:
        while at < len(among) and among[at] != shape:
            at += 1
        if at == len(among):
            return None
        places.append(at)
        at += 1
    return places


def _by_shape(table: Sequence[Sequence[StoredTensor]], weights: Sequence[StoredTensor]) -> list[str | None] | None:
    """Owner of each row that is the only one of its shape, as its weight is; None where a shape has too few weights."""
    wanted = Counter(row[0].shape for row in table)
    held: dict[Shape, list[str]] = defaultdict(list)
    for weight in weights:
        held[weight.shape].append(weight.key)
    if any(len(held[shape]) < count for shape, count in wanted.items()):
        return None
    return [held[row[0].shape][0] if len(held[row[0].shape]) == 1 else None for row in table]


def _agreed(readings: Sequence[Dealt]) -> Dealt:
    """What all readings say of a slot; its word is open where they agree on the weight alone."""
    if not readings:
        return {}
    agreed: dict[str, tuple[str, str | None]] = {}
    for slot, (owner, word) in readings[0].items():
        found = [reading.get(slot) for reading in readings]
        if all(other is not None and other[0] == owner for other in found):
            same = all(other is not None and other[1] == word for other in found)
            agreed[slot] = owner, word if same else None
    return agreed


def order_of_slots(
    layers: Mapping[str, Sequence[Shape]], slots: Sequence[StoredTensor], optimizer: Optimizer
) -> list[str]:
    """Layers in the order of their slots, where no weight was frozen and no two layers have equal shapes; else empty.

    A file whose parts were written anew keeps the optimizer's numbering, which is that of the model's weights.

    Args:
        layers: name -> shapes of its weights that can be trained; none for a layer without.
        slots: in stored order, counters left out.
        optimizer: whose slots they are.
    """
    by_first = {tuple(shapes): layer for layer, shapes in layers.items() if shapes}
    count = sum(map(len, layers.values()))
    if len(by_first) != sum(bool(shapes) for shapes in layers.values()) or not count:
        return []
    for blocks in optimizer.layouts():
        table = _table(slots, blocks, count) if count * sum(map(len, blocks)) == len(slots) else None
        order = _walked([row[0].shape for row in table], by_first) if table else []
        if order:
            return [*order, *(layer for layer, shapes in layers.items() if not shapes)]
    return []


def _walked(shapes: Sequence[Shape], layers: Mapping[tuple[Shape, ...], str]) -> list[str]:
    """The one way to cut `shapes` into those of layers, longest first; empty where a layer is met twice or none fits."""
    lengths = sorted(set(map(len, layers)), reverse=True)
    order: list[str] = []
    at = 0
    while at < len(shapes):
        key = next((key for length in lengths if (key := tuple(shapes[at : at + length])) in layers), None)
        if key is None:
            return []
        order.append(layers[key])
        at += len(key)
    return order if len(set(order)) == len(order) else []
