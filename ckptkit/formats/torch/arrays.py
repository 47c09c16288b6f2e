"""Arrays and scalars of NumPy inside of a pickle: their bytes lie in it, and their dtype is a call with a state.

Source: numpy/_core/src/multiarray/methods.c, `array_reduce` and `array_setstate`; descriptor.c, `arraydescr_reduce`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ckptkit import dtypes
from ckptkit.formats.npz.header import NUMBERS
from ckptkit.formats.torch.pickles import Call, Global, Value

_ARRAY = frozenset({
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
})  # fmt: skip
_SCALAR = frozenset({"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"})
_BYTES = frozenset({"builtins.bytes", "__builtin__.bytes", "builtins.bytearray"})
NAMES = _ARRAY | _SCALAR | _BYTES
_MOST_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Array:
    """An array whose bytes are `data`; `swapped` when they are in falling order of significance."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]
    fortran: bool
    swapped: bool


def is_array(value: Value) -> bool:
    """Whether a node is an array of NumPy, of whatever dtype."""
    return isinstance(value, Call) and isinstance(value.of, Global) and value.of.path in _ARRAY


def read_array(value: Call) -> Array | None:
    """The array that a node is; None for one of objects, of texts, or of a class of its own."""
    if isinstance(value.of, Global) and value.of.name == "_frombuffer":
        data, dtype, shape, order = (
            value.args if isinstance(value.args, tuple) and len(value.args) == 4 else (None,) * 4
        )
        fortran = order == "F" if isinstance(order, str) else False
    else:
        kind = value.args[0] if isinstance(value.args, tuple) and value.args else None
        state = value.state
        if (
            not isinstance(kind, Global)
            or kind.path != "numpy.ndarray"
            or not isinstance(state, tuple)
            or len(state) != 5
        ):
            return None
        _, shape, dtype, fortran, data = state
    data, found = bytes_of(data), _dtype(dtype)
    if found is None or data is None or not isinstance(shape, tuple) or type(fortran) is not bool:
        return None
    if len(shape) > _MOST_DIMENSIONS or not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        return None
    name, swapped = found
    if math.prod(shape) * dtypes.itemsize(name) != len(data):
        return None
    return Array(data, name, shape, fortran, swapped)


def read_scalar(value: Value) -> float | int | complex | bool | None:
    """The number that a node is as a scalar of NumPy; None for anything else."""
    if not isinstance(value, Call) or not isinstance(value.of, Global) or value.of.path not in _SCALAR:
        return None
    if not isinstance(value.args, tuple) or len(value.args) != 2:
        return None
    found, data = _dtype(value.args[0]), bytes_of(value.args[1])
    if found is None or data is None or len(data) != dtypes.itemsize(found[0]):
        return None
    import numpy as np

    item = dtypes.numpy_dtype(found[0])
    number: float | int | complex | bool = np.frombuffer(data, item.newbyteorder(">") if found[1] else item)[0].item()
    return number


def bytes_of(value: Value) -> bytes | None:
    """Bytes as Python 3 writes them: as they are, or before protocol 3 as `_codecs.encode(text, 'latin1')`."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):  # Python 2 has no other strings
        return value.encode()
    if isinstance(value, Call) and isinstance(value.of, Global):
        args = value.args if isinstance(value.args, tuple) else ()
        if value.of.path == "_codecs.encode" and len(args) == 2 and isinstance(args[0], str) and args[1] == "latin1":
            try:
                return args[0].encode("latin-1")
            except UnicodeEncodeError:
                return None
        if value.of.path in _BYTES and not args:
            return b""
    return None


def _dtype(value: Value) -> tuple[str, bool] | None:
    """The canonical dtype that a `numpy.dtype(…)` is of, and whether its bytes are swapped."""
    if not isinstance(value, Call) or not isinstance(value.of, Global) or value.of.path != "numpy.dtype":
        return None
    word = value.args[0] if isinstance(value.args, tuple) and value.args else None
    name = NUMBERS.get(word) if isinstance(word, str) else None
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "|"
    if name is None or order not in ("<", ">", "|", "="):
        return None
    return name, order == ">" and dtypes.itemsize(name) > 1
