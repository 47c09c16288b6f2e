"""The shape of a convention: one literal row per layer kind and dialect.

A row says what a framework calls the variables of a layer and how each lies in memory, in a small layout notation. The
planner compares two rows and derives the operations; no row holds code.

Layout notation, one word per axis, separated by spaces:

- a capital letter names a dimension (`I` inputs, `O` outputs, `H` units, `C` channels, `M` multiplier, `X Y Z` space);
- `1` is an axis of one element, `1..` any number of them, `...` any number of axes that are taken as they lie;
- `C.M` is one axis that runs over both, the last one fastest;
- `ifgo*H` is one axis that holds a block of size `H` per gate, in that order. `-z` is a gate stored negated, `f^` one
  to which the framework adds `forget_bias` when it runs. Gates are `i f g o` for LSTM and `z r n` for GRU, whatever
  the framework calls them;
- `~X` is an axis that lies the other way round (Theano turns kernels when it convolves);
- `H'` is the second axis of that letter in the reference, where a square matrix lies transposed;
- `I+H` is one axis that holds first what belongs to one role, then what belongs to the next;
- a trailing `@ * I` says that every gate's block is filled in this order of axes, whatever its shape says (CuDNN).

The reference of every kind is the Keras 3 row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Native:
    """One variable of a row.

    Attributes:
        suffix: its name below the layer's path, as the dialect writes it (`gates/kernel`, `moving_mean/average`).
        roles: the reference part(s) it holds; several when parts are joined in one tensor (`("kernel",
            "recurrent_kernel")`). `bias+recurrent_bias` is a tensor that holds the sum of two parts. A part that
            several natives or pieces hold is their sum.
        layout: in the notation above.
        optional: whether the layer may lack it (`use_bias=False`).
        kind: `weight` or `state`.
        aliases: other spellings of `suffix` in the same dialect (an attribute's name, an older release).
    """

    suffix: str
    roles: tuple[str, ...]
    layout: str
    optional: bool = False
    kind: str = "weight"
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One layer kind in one dialect. A row is an entry of a table: equal is only what is the same one.

    Attributes:
        dialect: `keras0` to `keras3`, `tf_layers`, `rnn_cell`, `slim`, `sonnet1`, `sonnet2`, `torch`, `flax`, `haiku`,
            `by_hand`.
        kind: Keras's class word (`LSTM`), by which rows of different dialects meet.
        name: what the dialect itself calls it (`BasicLSTMCell`), a variant in brackets; with `dialect` the unique id.
        natives: its variables in the framework's order of creation.
        source: where the convention is to be read: module and function of the framework, or the measurement.
        when: (key, value) of the layer's configuration that this row needs, where the file has a configuration.
        options: facts about the maths that must agree between two readings (`reset_after=True`).
        where: (dimension, product) for a dimension that this row stores as several axes (`("O", "N.K")`), or as none
            (`("I", "1")`).
        lost: what no other framework has a place for, in words; "" for a row that loses nothing.
        of: the kind that the layer itself is, where this row takes it for another one (a convolution of width 1 for a
            `Dense`); "" for a row of its own kind.
        adapters: (suffix, left factor, right factor): the framework adds the product of the two factors, scaled, to
            the variable when it runs.
        integers: whether one of its variables holds integers: without names this is what tells it.
        called: whether only a layer that is called so is read by this row: another one has the same words and shapes and is
            much the likelier.
    """

    dialect: str
    kind: str
    name: str
    natives: tuple[Native, ...]
    source: str
    when: tuple[tuple[str, object], ...] = ()
    options: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    lost: str = ""
    of: str = ""
    adapters: tuple[tuple[str, str, str], ...] = ()
    integers: bool = False
    called: bool = False

    @property
    def id(self) -> str:
        """`dialect/name`."""
        return f"{self.dialect}/{self.name}"

    @property
    def class_name(self) -> str:
        """What the dialect calls the class, without the variant: `Convolution2D` of `Convolution2D(th)`."""
        return self.name.partition("(")[0]
