"""What frameworks call the variables of their layers, and how each lies in memory: literal rows, each with its source.

`rows` has the notation, the tables are `keras`, `tf_layers`, `rnn_cells`, `slim`, `sonnet`, `torch`
and `by_hand`, with `adapters` and `quantized` for what Keras 3 puts beside or in place of weights. `views` are layers taken
for layers of another kind.
"""

from __future__ import annotations

from ckptkit.conventions.expanding import expand
from ckptkit.conventions.fused import Expanded
from ckptkit.conventions.reading import LORA_SCALE, TIED, TRANSPOSED, read_forms
from ckptkit.conventions.rows import Native, Row
from ckptkit.conventions.tables import FURTHER, ROWS, by_id, rows_of

__all__ = [
    "FURTHER", "LORA_SCALE", "ROWS", "TIED", "TRANSPOSED", "Expanded", "Native", "Row", "by_id", "expand",
    "read_forms", "rows_of",
]  # fmt: skip
