"""All tables together, and finding a row in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.conventions import keras, rnn_cells, slim, sonnet, tf_layers

if TYPE_CHECKING:
    from ckptkit.conventions.rows import Row

ROWS: tuple[Row, ...] = (*keras.ROWS, *tf_layers.ROWS, *rnn_cells.ROWS, *slim.ROWS, *sonnet.ROWS)

_BY_ID = {row.id: row for row in ROWS}
_DIALECTS = dict.fromkeys(row.dialect for row in ROWS)
_BY_DIALECT = {dialect: tuple(row for row in ROWS if row.dialect == dialect) for dialect in _DIALECTS}


def rows_of(dialect: str) -> tuple[Row, ...]:
    """The rows of `dialect` in table order; none for a dialect without a table, such as `plain`."""
    return _BY_DIALECT.get(dialect, ())


def by_id(name: str) -> Row:
    """The row called `dialect/name`.

    Raises:
        KeyError: there is none.
    """
    return _BY_ID[name]
