"""Numbers, sizes and shapes in words, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence

# Short names as papers and shells write them; every other dtype is shown as it is.
_SHORT = {
    "float16": "f16", "float32": "f32", "float64": "f64", "bfloat16": "bf16", "int8": "i8", "int16": "i16",
    "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
}  # fmt: skip


def count(number: int, noun: str = "", plural: str | None = None) -> str:
    """`1,234 layers`, `1 layer`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(nbytes: int) -> str:
    """Bytes in binary units: `26.5 KiB`."""
    if nbytes < 1024:
        return f"{nbytes} B"
    value = float(nbytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007  # the last one reached is shown
        value /= 1024
        if value < 1024:
            break
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def shape(dimensions: Sequence[int]) -> str:
    """`[100, 64]`."""
    return f"[{', '.join(map(str, dimensions))}]"


def dtype(name: str) -> str:
    """`f32` for `float32`."""
    return _SHORT.get(name, name)


def number(value: float) -> str:
    """A measured value with three digits: `0.612`, `1.1e-07`, `0`."""
    if value == 0:
        return "0"
    return f"{value:.3g}"


def listing(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    left = len(names) - most
    return f"{shown} and {left:,} more" if left > 0 else shown
