"""`docs/conventions.md`, made from the tables."""

# ruff: noqa: E501  (Markdown tables have long lines)

from __future__ import annotations

from collections.abc import Iterator

from ckptkit.conventions.rows import Native, Row
from ckptkit.conventions.tables import FURTHER, ROWS
from ckptkit.conventions.views import VIEWS, View

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
| `~X` | an axis that lies the other way round: Theano turns kernels when it convolves, JAX those of a transposed convolution |
| `H'` | the second axis of that letter in the reference: a square matrix that lies transposed |
| `I+H` | one axis with first what belongs to one role, then what belongs to the next |
| `@ * I` | every gate's block is filled in this order of axes, whatever its shape says |

A variable in brackets may be absent. `a, b ← layout` is one tensor that holds two roles; `a+b` one that holds their sum.
"""

_VIEWED = """\
## One kind taken for another

A layer of one kind can compute what one of another kind does. Every row above whose first variable lies as the third
column says is read as the second kind, too, in the letters of the fourth. A layer's own kind is always the likelier
reading, and two layers of one kind are never joined this way unless their shapes are equal: heads of another size are
another function.

| kind | taken for | lies | as | remarks | why |
|---|---|---|---|---|---|"""

_FUSED = """\
## Query, key and value in one layer

Where one checkpoint has a layer with three times the outputs and the other has layers called query, key and value
(or `q`, `k`, `v`) of that size, as many as there are such layers, the one stands for three: `<layer>/query`,
`<layer>/key` and `<layer>/value`, in that order along the last axis. The plan slices or joins, and says that it assumes
this order.

## One table for the way in and the way out

Logits over a tied embedding are a product with the table transposed. A checkpoint that stores it once gives a target
that has both, and one that stores it twice gives a target that has one (the two are then compared before anything is
written), where `--assume tied=transposed` says so. Nobody has to where a source that stores it twice goes into a
target that stores it once, or has the bias of the logits and no kernel; else a refusal proposes it.
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
    "torch": "PyTorch",
    "flax": "Flax (linen and NNX)",
    "haiku": "Haiku",
    "by_hand": "Variables made by hand",
}


def page() -> str:
    """The whole page."""
    sections = (line for dialect in _TITLES for line in _section(dialect))
    return "\n".join([_INTRODUCTION, *sections, _VIEWED, *map(_view, VIEWS), "", _FUSED])


def _section(dialect: str) -> Iterator[str]:
    yield f"## {_TITLES[dialect]}"
    yield ""
    yield "| kind | name | variables: role ← layout | remarks | source |"
    yield "|---|---|---|---|---|"
    for row in (*ROWS, *FURTHER):
        if row.dialect == dialect and (not row.of or row.kind.startswith("Quantized")):
            variables = "<br>".join(_variable(native) for native in row.natives)
            yield f"| {row.kind} | `{row.name}` | {variables} | {_remarks(row)} | {row.source} |"
    yield ""


def _view(view: View) -> str:
    remarks = [f"`{name}` is `{product}`" for name, product in view.where]
    remarks += [f"`--assume {key}={value}`" for key, value in view.when]
    return f"| {view.of} | {view.kind} | `{view.old}` | `{view.new}` | {'; '.join(remarks)} | {view.why} |"


def _variable(native: Native) -> str:
    spellings = " or ".join(f"`{name}`" for name in (native.suffix, *native.aliases))
    name = f"[{spellings}]" if native.optional else spellings
    if native.kind == "state":
        return f"{name}: state"
    if not native.roles:
        return f"{name}: factor of an adapter ← `{native.layout}`"
    return f"{name}: {', '.join(native.roles)} ← `{native.layout or 'scalar'}`"


def _remarks(row: Row) -> str:
    remarks = [f"where the configuration says `{key}={value}`" for key, value in row.when]
    remarks += [f"`{option}`" for option in row.options if option not in {f"{key}={value}" for key, value in row.when}]
    remarks += [f"`{name}` is `{product}`" for name, product in row.where]
    if row.lost:
        remarks.append(f"to another framework it would lose {row.lost}: refused")
    return "; ".join(remarks)
