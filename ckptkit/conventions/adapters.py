"""Low-rank adapters (LoRA) of Keras 3: two factors beside a variable, whose product is added to it when the layer runs.

Every layer that can have one is here twice: as it is stored, for a target that has an adapter of the same rank, and
with the adapter merged, for one that has none or another.
"""

from __future__ import annotations

from ckptkit.conventions import keras
from ckptkit.conventions.rows import Native, Row

_SOURCES = {
    "Dense": "keras/src/layers/core/dense.py, enable_lora",
    "EinsumDense": "keras/src/layers/core/einsum_dense.py, enable_lora",
    "Embedding": "keras/src/layers/core/embedding.py, enable_lora",
    "Conv1D": "keras/src/layers/convolutional/base_conv.py, enable_lora",
    "Conv2D": "keras/src/layers/convolutional/base_conv.py, enable_lora",
    "Conv3D": "keras/src/layers/convolutional/base_conv.py, enable_lora",
}


def _factors(adapted: Native, *, merged: bool) -> tuple[Native, Native]:
    """The factors: the variable's axes but the last, then the rank; the rank, then the last axis."""
    *before, last = adapted.layout.split()
    names = f"lora_{adapted.suffix}_a", f"lora_{adapted.suffix}_b"
    layouts = " ".join((*before, "R")), f"R {last}"
    a, b = (Native(name, () if merged else (name,), layout) for name, layout in zip(names, layouts, strict=True))
    return a, b


def _adapted(row: Row, *, merged: bool) -> Row:
    a, b = _factors(row.natives[0], merged=merged)
    variant = row.name.partition("(")[2].removesuffix(")")
    words = " ".join(filter(None, (variant, "lora", "merged" if merged else "")))
    return Row(
        row.dialect, row.kind, f"{row.class_name}({words})", (*row.natives, a, b), _SOURCES[row.kind],
        adapters=((row.natives[0].suffix, a.suffix, b.suffix),) if merged else (), called=row.called,
    )  # fmt: skip


_CAN_HAVE = tuple(row for row in keras.KERAS3 if row.kind in _SOURCES)

ROWS: tuple[Row, ...] = tuple(_adapted(row, merged=merged) for merged in (False, True) for row in _CAN_HAVE)
