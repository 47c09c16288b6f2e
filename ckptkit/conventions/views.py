"""Layers taken for layers of another kind that compute the same: a convolution of width 1 is a matrix product.

A view is made from every row whose kernel lies as the rule says, so that what one framework calls a convolution and
another a `Dense` have equal parts. A layer's own kind is always the likelier reading.
"""

# ruff: noqa: E501  (a table reads best with one rule to a line)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ckptkit.conventions.rows import Row


@dataclass(frozen=True, slots=True)
class View:
    """A rule by which rows of one kind are rows of another, too.

    Attributes:
        of: the kind that the layer is.
        kind: the kind that it is taken for.
        old: layout of the row's first variable.
        new: the same axes in the letters of `kind`.
        called: what tells this view from others of the row, in words.
        why: what makes the two compute the same.
        role: what the first variable is in a layer of `kind`.
        where: see `Row.where`.
        when: see `Row.when`.
        alone: whether the view is only of a layer that has no variable but the first.
    """

    of: str
    kind: str
    old: str
    new: str
    called: str
    why: str
    role: str = "kernel"
    where: tuple[tuple[str, str], ...] = ()
    when: tuple[tuple[str, object], ...] = ()
    alone: bool = False

    def applied(self, row: Row) -> Row:
        """`row` as a row of the other kind."""
        first, *rest = row.natives
        first = replace(first, layout=self.new, roles=(self.role,))
        natives = (first,) if self.alone else (first, *rest)
        variant = row.name.partition("(")[2].removesuffix(")")
        words = ", ".join(filter(None, (variant, self.called)))
        return replace(
            row, kind=self.kind, name=f"{row.class_name}({words})", natives=natives, of=self.of,
            where=(*row.where, *self.where), when=(*row.when, *self.when), source=f"{row.source}; {self.why}",
        )  # fmt: skip


_HEADS = "abc,cde->abde is a matrix product over [c, d·e]"
_OUTPUT = "abcd,cde->abe is a matrix product over [c·d, e]"
_WIDTH_1 = "a kernel of width 1 is a matrix product at every place"
_COVERS = "a kernel as large as its input is a matrix product over the flattened input"
_GROUPS = "every channel is a group of its own"
_OF_ONE = (("O", "C.M"), ("I", "1"))
_LAST = (("flatten", "channels_last"),)
_FIRST = (("flatten", "channels_first"),)

VIEWS: tuple[View, ...] = (
    View("EinsumDense", "Dense", "I N K", "I N K", "as Dense", _HEADS, where=(("O", "N.K"),)),
    View("EinsumDense", "Dense", "N K O", "N K O", "as Dense", _OUTPUT, where=(("I", "N.K"),)),
    View("Conv1D", "Dense", "X I O", "1 I O", "as Dense", _WIDTH_1),
    View("Conv2D", "Dense", "X Y I O", "1 1 I O", "as Dense", _WIDTH_1),
    View("Conv3D", "Dense", "X Y Z I O", "1 1 1 I O", "as Dense", _WIDTH_1),
    View("Conv1D", "Dense", "X I O", "X C O", "covering, as Dense", _COVERS, where=(("I", "X.C"),), when=_LAST),
    View("Conv2D", "Dense", "X Y I O", "X Y C O", "covering, as Dense", _COVERS, where=(("I", "X.Y.C"),), when=_LAST),
    View("Conv3D", "Dense", "X Y Z I O", "X Y Z C O", "covering, as Dense", _COVERS, where=(("I", "X.Y.Z.C"),), when=_LAST),
    View("Conv1D", "Dense", "X I O", "X C O", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X"),), when=_FIRST),
    View("Conv2D", "Dense", "X Y I O", "X Y C O", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X.Y"),), when=_FIRST),
    View("Conv3D", "Dense", "X Y Z I O", "X Y Z C O", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X.Y.Z"),), when=_FIRST),
    View("Conv1D", "Dense", "O I X", "O I 1", "as Dense", _WIDTH_1),
    View("Conv2D", "Dense", "O I X Y", "O I 1 1", "as Dense", _WIDTH_1),
    View("Conv3D", "Dense", "O I X Y Z", "O I 1 1 1", "as Dense", _WIDTH_1),
    View("Conv1D", "Dense", "O I X", "O C X", "covering, as Dense", _COVERS, where=(("I", "X.C"),), when=_LAST),
    View("Conv2D", "Dense", "O I X Y", "O C X Y", "covering, as Dense", _COVERS, where=(("I", "X.Y.C"),), when=_LAST),
    View("Conv3D", "Dense", "O I X Y Z", "O C X Y Z", "covering, as Dense", _COVERS, where=(("I", "X.Y.Z.C"),), when=_LAST),
    View("Conv1D", "Dense", "O I X", "O C X", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X"),), when=_FIRST),
    View("Conv2D", "Dense", "O I X Y", "O C X Y", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X.Y"),), when=_FIRST),
    View("Conv3D", "Dense", "O I X Y Z", "O C X Y Z", "covering, channels first, as Dense", _COVERS, where=(("I", "C.X.Y.Z"),), when=_FIRST),
    View("DepthwiseConv1D", "Conv1D", "X C M", "X C M", "as Conv1D in groups", _GROUPS, where=_OF_ONE),
    View("DepthwiseConv2D", "Conv2D", "X Y C M", "X Y C M", "as Conv2D in groups", _GROUPS, where=_OF_ONE),
    View("PositionEmbedding", "Embedding", "V D", "V D", "as Embedding", "positions are looked up in a table", "embeddings"),
    View("ReversibleEmbedding", "Embedding", "V D", "V D", "as Embedding", "without a table of its own for the way out, it is one table", "embeddings",
        alone=True),
    View("Embedding", "ReversibleEmbedding", "V D", "V D", "as ReversibleEmbedding", "one table for both ways", "embeddings"),
)  # fmt: skip


def views_of(rows: tuple[Row, ...]) -> Iterator[Row]:
    """The views of `rows`, in the order of the rules."""
    for view in VIEWS:
        for row in rows:
            # An adapter that is not merged is no kernel of another kind, and its factors keep the letters of the row.
            adapted = row.name.endswith("lora)") or (row.adapters and view.new != view.old)
            if row.kind == view.of and row.natives[0].layout == view.old and not (row.lost or row.of or adapted):
                yield view.applied(row)
