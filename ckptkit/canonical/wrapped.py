"""Layers inside layers: which path a wrapped layer gets, and what the architecture says of it.

A recurrent layer and its cell, or a TimeDistributed and the layer in it, are one layer to a person; the two directions
of a Bidirectional and the projections of an attention are several.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from ckptkit.canonical.architecture import Node
from ckptkit.canonical.draft import LayerFacts
from ckptkit.canonical.naming import is_cell, without_auto_suffix
from ckptkit.conventions.candidates import snake_case

Scope = tuple[str, ...]

# Projections of MultiHeadAttention: attribute -> name of the EinsumDense, in the order in which they are built
# (keras/src/layers/attention/multi_head_attention.py, `build`).
PROJECTIONS = {
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "output_dense": "attention_output",
}


def common_scope(scopes: Sequence[Scope]) -> Scope:
    """The components with which all of `scopes` begin."""
    first, last = min(scopes), max(scopes)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]


def inner_path(rest: Scope, siblings: Collection[Scope]) -> Scope:
    """`rest` without a cell that is the only thing in its layer: `(forward_lstm, lstm_cell_1)` is `(forward_lstm,)`."""
    while rest and is_cell(rest[-1]) and sum(other[: len(rest) - 1] == rest[:-1] for other in siblings) == 1:
        rest = rest[:-1]
    return rest


def facts_of(node: Node | None, rest: Scope, words: Mapping[str, str]) -> LayerFacts:
    """What the architecture says of the layer `rest` inside `node`.

    Args:
        node: the layer of the architecture, or None when there is none.
        rest: components below it.
        words: class name -> Keras's word for it (`fit.kinds`).
    """
    if node is None:
        return LayerFacts()
    inner = node
    for component in rest:
        found = next((part for part in inner.parts.values() if part.name == component), None)
        if found is None:
            attention = inner.class_name.endswith("Attention") and component in PROJECTIONS.values()
            return LayerFacts("EinsumDense" if attention else None, node.calls)
        inner = found
    # What SpectralNormalization owns itself is not a variable of the layer in it.
    if not rest and "layer" in inner.parts and not inner.is_model and inner.class_name != "SpectralNormalization":
        inner = inner.parts["layer"]
    return LayerFacts(modern(inner.class_name, words), node.calls, inner.config or None)


def modern(class_name: str, words: Mapping[str, str]) -> str | None:
    """Keras's word for a class: versions lose their number, cells are their layer."""
    for candidate in (class_name, re.sub(r"V[12]$", "", class_name), re.sub(r"Cell$", "", class_name)):
        if candidate in words:
            return words[candidate]
    return class_name or None


def kind_of_word(word: str, words: Mapping[str, str]) -> str | None:
    """The kind that an automatic name tells (`batch_normalization_3`), or None.

    Args:
        word: a layer's name or a group.
        words: snake-case class name -> Keras's word (`fit.kinds_by_snake`).
    """
    return words.get(snake_case(without_auto_suffix(word)))
