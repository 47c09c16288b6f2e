"""What a person says of a model's inputs: shapes as text, and files of arrays."""

from __future__ import annotations

import math
import re
from typing import Any

from ckptkit import dtypes
from ckptkit.errors import LimitError, UsageError

_SHAPE = re.compile(r"(?P<sizes>\d+(,\d+)*)?(:(?P<dtype>[a-z]\w*))?")

# Elements of one input: a sample is wanted, and a typing error must not take the machine's memory.
_MOST_ELEMENTS = 1 << 28

# How a ragged array is kept in a file of arrays: its values, and where each row begins and ends among them
# (tensorflow/python/ops/ragged/ragged_tensor.py, `RaggedTensor.values`, `row_splits`).
VALUES, SPLITS = "/values", "/row_splits"


def parse_shape(text: str) -> tuple[tuple[int, ...], str]:
    """`1,28,28,1`, `1,16:int32` or `2,1:string` as (shape, canonical dtype); float32 when none is given.

    Raises:
        UsageError: it does not parse, or the dtype is unknown.
        LimitError: it has too many elements.
    """
    match = _SHAPE.fullmatch(text.strip().strip("[]()").replace(" ", ""))
    if match is None or not text.strip():
        raise UsageError(
            "not an input shape", key=text, expected="sizes and perhaps a dtype, such as 1,28,28,1 or 4,16:int32"
        )
    shape = tuple(int(size) for size in (match["sizes"] or "").split(",") if size)
    dtype = match["dtype"] or "float32"
    if dtype not in dtypes.BY_NAME:
        raise UsageError("no such dtype", key=text, found=dtype, expected="float32, int32, string, …")
    if math.prod(shape) > _MOST_ELEMENTS:
        raise LimitError("the input is too large", key=text, expected=f"at most {_MOST_ELEMENTS} elements")
    return shape, dtype


def read_arrays(path: str) -> dict[str, Any]:
    """The arrays of a file by name, through the same checked readers as every other; nothing is unpickled.

    Texts are arrays of byte strings. A ragged array `x` is two: `x/values` and `x/row_splits`.

    Raises:
        CkptkitError: it cannot be read, holds nothing, or a ragged array whose parts do not fit.
    """
    from ckptkit import formats
    from ckptkit.model import read_tensor

    contents, source = formats.open_contents(path)
    try:
        arrays = {tensor.key: read_tensor(source, tensor) for tensor in contents.tensors if tensor.problem is None}
    finally:
        source.close()
    if not arrays:
        raise UsageError("holds no array", path=path)
    for name in ragged_names(arrays):
        _check_splits(path, name, arrays[name + VALUES], arrays[name + SPLITS])
    return arrays


def ragged_names(names: Any) -> list[str]:
    """What of these names are the two parts of a ragged array, without the endings."""
    every = set(names)
    return [name.removesuffix(VALUES) for name in names if name.endswith(VALUES) and _splits_of(name) in every]


def _splits_of(values: str) -> str:
    return values.removesuffix(VALUES) + SPLITS


def _check_splits(path: str, name: str, values: Any, splits: Any) -> None:
    fits = splits.ndim == 1 and splits.dtype.kind in "iu" and splits.size and values.ndim
    if not fits or splits[0] != 0 or (splits[1:] < splits[:-1]).any() or splits[-1] != len(values):
        found = len(values) if values.ndim else 0
        raise UsageError(
            "row_splits do not divide the values", path=path, key=name, expected=f"rising numbers from 0 to {found}"
        )
