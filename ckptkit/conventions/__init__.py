"""What frameworks call the variables of their layers, and how each lies in memory: literal rows, each with its source.

`rows` has the notation, the tables are `keras`, `tf_layers`, `rnn_cells`, `slim` and `sonnet`.
"""

from __future__ import annotations

from ckptkit.conventions.reading import read_forms
from ckptkit.conventions.rows import Native, Row
from ckptkit.conventions.tables import ROWS, by_id, rows_of

__all__ = ["ROWS", "Native", "Row", "by_id", "read_forms", "rows_of"]
