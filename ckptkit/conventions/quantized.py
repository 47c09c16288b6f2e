"""Quantized layers of Keras 3: integers with scales in place of floating-point weights.

A row says what such a layer is, so that it moves into its like and is refused elsewhere: no cast makes one the other.
"""

from __future__ import annotations

from dataclasses import replace

from ckptkit.conventions.rows import Native, Row

_BIAS = Native("bias", ("bias",), "...", optional=True)

# What a block-wise or calibrated quantization stores beside the scale (keras/src/quantizers, gptq_core and awq_core).
_BLOCKS = ("kernel_zero", "g_idx", "awq_scales")

_FLOAT8 = (
    "inputs_scale", "inputs_amax_history", "kernel_scale", "kernel_amax_history", "outputs_grad_scale",
    "outputs_grad_amax_history",
)  # fmt: skip


def _taken(name: str, *, optional: bool = False, aliases: tuple[str, ...] = ()) -> Native:
    return Native(name, (name,), "...", optional=optional, aliases=aliases)


def _adapted(row: Row, *, merged: bool) -> Row:
    """`row` with a low-rank adapter beside it: as it is stored, or taken into the integers, which only Keras itself can do."""
    of = row.natives[0].suffix
    a, b = f"lora_{of}_a", f"lora_{of}_b"
    factors = tuple(Native(name, () if merged else (name,), "...") for name in (a, b))
    words = " ".join(filter(None, ("lora", "merged" if merged else "")))
    return replace(
        row,
        name=row.name.replace(")", f", {words})"),
        natives=(*row.natives, *factors),
        adapters=((of, a, b),) if merged else (),
    )


def _rows(kind: str, source: str) -> tuple[Row, ...]:
    kernel = _taken("kernel", aliases=("quantized_kernel",))
    return (
        Row("keras3", f"Quantized{kind}", f"{kind}(int8, int4)",
            (kernel, _BIAS, _taken("kernel_scale"), *(_taken(name, optional=True) for name in _BLOCKS)),
            f"{source}, quantized_build", of=kind, integers=True),
        Row("keras3", f"Quantized{kind}", f"{kind}(float8)",
            (_taken("kernel"), _BIAS, *(_taken(name) for name in _FLOAT8)), f"{source}, _float8_build", of=kind),
    )  # fmt: skip


_STORED: tuple[Row, ...] = (
    *_rows("Dense", "keras/src/layers/core/dense.py"),
    *_rows("EinsumDense", "keras/src/layers/core/einsum_dense.py"),
    Row("keras3", "QuantizedEmbedding", "Embedding(int8, int4)",
        (
            _taken("embeddings"), _taken("embeddings_scale"), _taken("embeddings_zero", optional=True),
            _taken("reverse_embeddings", optional=True), _taken("reverse_embeddings_scale", optional=True),
            _taken("reverse_embeddings_zero", optional=True), _taken("g_idx", optional=True),
        ), "keras/src/layers/core/embedding.py and reversible_embedding.py, quantized_build", of="Embedding", integers=True),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    *_STORED,
    *(_adapted(row, merged=merged) for merged in (False, True) for row in _STORED if row.integers),
)
