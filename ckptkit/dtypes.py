"""Canonical dtype names, and what each format calls them.

The canonical name is NumPy's where NumPy has the type, `ml_dtypes`'s where it has not, and TensorFlow's for the
quantised types. `string` is a tensor of byte strings of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class DType:
    """One row of the table.

    Attributes:
        name: canonical name.
        itemsize: bytes per element as ckptkit hands them over; 0 for `string`. Four- and two-bit types take a whole
            byte each, as in TensorFlow's bundles.
        tensorflow: number in TensorFlow's `types.proto`, or None.
        safetensors: name in a safetensors header, or None.
        numpy: the NumPy (or `ml_dtypes`) type that holds these bytes.
    """

    name: str
    itemsize: int
    tensorflow: int | None
    safetensors: str | None
    numpy: str


# name, itemsize, tensorflow/core/framework/types.proto, safetensors `dtype`, NumPy or ml_dtypes type
TABLE = (
    DType("bool", 1, 10, "BOOL", "bool"),
    DType("int8", 1, 6, "I8", "int8"),
    DType("int16", 2, 5, "I16", "int16"),
    DType("int32", 4, 3, "I32", "int32"),
    DType("int64", 8, 9, "I64", "int64"),
    DType("uint8", 1, 4, "U8", "uint8"),
    DType("uint16", 2, 17, "U16", "uint16"),
    DType("uint32", 4, 22, "U32", "uint32"),
    DType("uint64", 8, 23, "U64", "uint64"),
    DType("float16", 2, 19, "F16", "float16"),
    DType("float32", 4, 1, "F32", "float32"),
    DType("float64", 8, 2, "F64", "float64"),
    DType("complex64", 8, 8, "C64", "complex64"),
    DType("complex128", 16, 18, None, "complex128"),
    DType("bfloat16", 2, 14, "BF16", "bfloat16"),
    DType("float8_e5m2", 1, 24, "F8_E5M2", "float8_e5m2"),
    DType("float8_e4m3fn", 1, 25, "F8_E4M3", "float8_e4m3fn"),
    DType("float8_e4m3fnuz", 1, 26, None, "float8_e4m3fnuz"),
    DType("float8_e4m3b11fnuz", 1, 27, None, "float8_e4m3b11fnuz"),
    DType("float8_e5m2fnuz", 1, 28, None, "float8_e5m2fnuz"),
    DType("float8_e8m0fnu", 1, None, "F8_E8M0", "float8_e8m0fnu"),
    DType("int4", 1, 29, None, "int4"),
    DType("uint4", 1, 30, None, "uint4"),
    DType("int2", 1, 31, None, "int2"),
    DType("uint2", 1, 32, None, "uint2"),
    DType("float4_e2m1fn", 1, 33, None, "float4_e2m1fn"),
    DType("qint8", 1, 11, None, "int8"),
    DType("quint8", 1, 12, None, "uint8"),
    DType("qint16", 2, 15, None, "int16"),
    DType("quint16", 2, 16, None, "uint16"),
    DType("qint32", 4, 13, None, "int32"),
    DType("string", 0, 7, None, "object"),
)

BY_NAME = {row.name: row for row in TABLE}
BY_TENSORFLOW = {row.tensorflow: row for row in TABLE if row.tensorflow is not None}
BY_SAFETENSORS = {row.safetensors: row for row in TABLE if row.safetensors is not None}

_ML_DTYPES = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")


def itemsize(name: str) -> int:
    """Bytes per element of the canonical dtype `name`; 0 for `string`."""
    return BY_NAME[name].itemsize


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The little-endian NumPy dtype whose items are the bytes of canonical dtype `name`.

    `ml_dtypes` is imported only for the types that NumPy itself does not have.

    Raises:
        MissingDependencyError: it is too old to have this one.
    """
    import numpy as np

    if name.startswith(_ML_DTYPES):
        import ml_dtypes

        found = getattr(ml_dtypes, BY_NAME[name].numpy, None)
        if found is None:
            raise MissingDependencyError(
                f"{name} needs a newer ml-dtypes", expected="0.5 or later", found=ml_dtypes.__version__,
                hint="pip install --upgrade ml-dtypes",
            )  # fmt: skip
        extended: np.dtype[Any] = np.dtype(found)
        return extended
    plain: np.dtype[Any] = np.dtype(BY_NAME[name].numpy).newbyteorder("<")
    return plain
