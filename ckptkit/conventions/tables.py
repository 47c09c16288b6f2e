"""All tables together, and finding a row in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.conventions import (
    adapters,
    by_hand,
    flax,
    haiku,
    keras,
    lone,
    quantized,
    rnn_cells,
    slim,
    sonnet,
    tf_layers,
    torch,
)
from ckptkit.conventions.views import views_of

if TYPE_CHECKING:
    from ckptkit.conventions.rows import Row

ROWS: tuple[Row, ...] = (
    *keras.ROWS, *tf_layers.ROWS, *rnn_cells.ROWS, *slim.ROWS, *sonnet.ROWS, *torch.ROWS, *flax.ROWS, *haiku.ROWS,
    *by_hand.ROWS,
)  # fmt: skip

FURTHER: tuple[Row, ...] = (*adapters.ROWS, *quantized.ROWS, *lone.ROWS, *views_of((*ROWS, *adapters.ROWS)))
"""Rows that explain what pairs with what, and never what unnamed variables are: adapters, integers with scales, views."""

_BY_ID = {row.id: row for row in (*ROWS, *FURTHER)}
_DIALECTS = dict.fromkeys(row.dialect for row in ROWS)
_BY_DIALECT = {dialect: tuple(row for row in ROWS if row.dialect == dialect) for dialect in _DIALECTS}
_FURTHER_BY_DIALECT = {dialect: tuple(row for row in FURTHER if row.dialect == dialect) for dialect in _DIALECTS}


def rows_of(dialect: str) -> tuple[Row, ...]:
    """The rows of `dialect` in table order; none for a dialect without a table, such as `plain`."""
    return _BY_DIALECT.get(dialect, ())


def further_rows_of(dialect: str) -> tuple[Row, ...]:
    """The further rows of `dialect`; none for a dialect without a table."""
    return _FURTHER_BY_DIALECT.get(dialect, ())


def by_id(name: str) -> Row:
    """The row called `dialect/name`.

    Raises:
        KeyError: there is none.
    """
    return _BY_ID[name]
