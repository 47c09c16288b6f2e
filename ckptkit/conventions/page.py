"""`docs/conventions.md`, made from the tables."""

# ruff: noqa: E501  (Markdown tables have long lines)

from __future__ import annotations

from collections.abc import Iterator

from ckptkit.conventions.rows import Native, Row
from ckptkit.conventions.tables import ROWS

_INTRODUCTION = """\
# What frameworks call things

This page is made from the tables in `ckptkit/conventions` (`python -m ckptkit.conventions`); do not edit it.

A row says what the variables of a layer are called in one dialect and how each lies in memory. Two rows of one kind
are all that ckptkit needs to move weights between them: it compares the layouts and derives the operations. Every row
has a test in which both layers run and their outputs agree.

How to read a layout, one word per axis:

| word | means |
|---|---|
| `I` | a dimension: `I` inputs, `O` outputs, `H` units, `C` channels, `M` multiplier, `X Y Z` space, `N K` heads and their size |
| `1`, `1..`, `...` | one element; any number of such axes; any axes, taken as they lie |
| `C.M` | one axis over both, the last one fastest |
| `ifgo*H` | one axis with a block per gate, in that order: `i f g o` in an LSTM, `z r n` in a GRU, whatever the framework calls them |
| `-z` | a gate that is stored negated |
| `f^` | a gate to which the framework adds `forget_bias` when it runs; it is not in the checkpoint |
| `~X` | an axis that lies the other way round: Theano turns kernels when it convolves, the others do not |
| `I+H` | one axis with first what belongs to one role, then what belongs to the next |
| `@ * I` | every gate's block is filled in this order of axes, whatever its shape says |

A variable in brackets may be absent. `a, b ← layout` is one tensor that holds two roles; `a+b` one that holds their sum.
"""

_TITLES = {
    "keras3": "Keras 3 (the reference)",
    "keras2": "Keras 2, tf.keras, tf_keras",
    "keras1": "Keras 1",
    "keras0": "Keras 0.x (by position)",
    "tf_layers": "tf.layers and variable_scope",
    "rnn_cell": "tf.nn.rnn_cell and tf.contrib.rnn",
    "slim": "tf.contrib.layers and slim",
    "sonnet1": "Sonnet 1",
    "sonnet2": "Sonnet 2",
}


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *(line for dialect in _TITLES for line in _section(dialect))])


def _section(dialect: str) -> Iterator[str]:
    yield f"## {_TITLES[dialect]}"
    yield ""
    yield "| kind | name | variables: role ← layout | remarks | source |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        if row.dialect == dialect:
            variables = "<br>".join(_variable(native) for native in row.natives)
            yield f"| {row.kind} | `{row.name}` | {variables} | {_remarks(row)} | {row.source} |"
    yield ""


def _variable(native: Native) -> str:
    spellings = " or ".join(f"`{name}`" for name in (native.suffix, *native.aliases))
    name = f"[{spellings}]" if native.optional else spellings
    if native.kind == "state":
        return f"{name}: state"
    return f"{name}: {', '.join(native.roles)} ← `{native.layout or 'scalar'}`"


def _remarks(row: Row) -> str:
    remarks = [f"where the configuration says `{key}={value}`" for key, value in row.when]
    remarks += [f"`{option}`" for option in row.options if option not in {f"{key}={value}" for key, value in row.when}]
    remarks += [f"`{name}` is `{product}`" for name, product in row.where]
    if row.lost:
        remarks.append(f"to another framework it would lose {row.lost}: refused")
    return "; ".join(remarks)
