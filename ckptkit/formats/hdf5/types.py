"""HDF5 datatypes and the canonical dtypes that their bytes are (IV.A.2.d)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ckptkit import dtypes
from ckptkit.errors import FormatError

# Records in records in lists: deeper than any that was seen, and recursion over it is safe.
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class StoredType:
    """How one element lies in the file.

    Attributes:
        dtype: canonical dtype; `uint8` where there is none and `problem` says why.
        itemsize: bytes per element in the file.
        swapped: the bytes of each part of an element are in big-endian order.
        parts: parts of an element that are swapped each for itself: 2 for complex numbers.
        vlen: a string of variable length, which lies elsewhere in the file.
        padding: what ends a string of fixed length: 0 the first NUL, 1 NULs to be stripped, 2 spaces to be stripped.
        opaque: bytes without a type; an attribute may say what they are.
        problem: why values of this type cannot be read, or None.
    """

    dtype: str
    itemsize: int
    swapped: bool = False
    parts: int = 1
    vlen: bool = False
    padding: int = 0
    opaque: bool = False
    problem: str | None = None


# bits: precision, sign at, exponent at and size, mantissa at and size; bias of the exponent -> canonical dtype
_FLOATS = {
    (16, 15, 10, 5, 0, 10, 15): "float16",
    (16, 15, 7, 8, 0, 7, 127): "bfloat16",
    (32, 31, 23, 8, 0, 23, 127): "float32",
    (64, 63, 52, 11, 0, 52, 1023): "float64",
    (8, 7, 2, 5, 0, 2, 15): "float8_e5m2",
    (8, 7, 3, 4, 0, 3, 7): "float8_e4m3fn",
}
_COMPLEX = {"float32": "complex64", "float64": "complex128"}

_INTEGER, _FLOAT, _STRING, _OPAQUE, _COMPOUND, _ENUM, _VLEN, _ARRAY, _NATIVE_COMPLEX = 0, 1, 3, 5, 6, 8, 9, 10, 11
_CLASS_NAMES = {2: "times", 4: "bit fields", 6: "records", 7: "references", 9: "lists of variable length", 10: "arrays"}


def parse_type(data: bytes) -> StoredType:
    """The `StoredType` of a datatype message; one with a `problem` for those that no tensor has.

    Raises:
        FormatError: the message is cut short or nested too deep.
    """
    return _parse(data, 0, 0)[0]


def with_dtype_attribute(stored: StoredType, name: str | None) -> StoredType:
    """The type of opaque items whose dataset has a `dtype` attribute.

    Source: `keras.src.saving.saving_lib.H5IOStore.__setitem__` stores bfloat16 as opaque items of two bytes with the
    attribute `dtype` = "bfloat16".
    """
    if stored.opaque and name in dtypes.BY_NAME and dtypes.itemsize(name) == stored.itemsize:
        return StoredType(name, stored.itemsize)
    return stored


def _parse(data: bytes, at: int, depth: int) -> tuple[StoredType, int]:
    """(type, where the message of it ends)."""
    if len(data) < at + 8 or depth > _MAX_DEPTH:
        raise FormatError("broken HDF5 datatype")
    version, kind = data[at] >> 4, data[at] & 15
    bits = int.from_bytes(data[at + 1 : at + 4], "little")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    at += 8
    if not size or not 1 <= version <= 5:
        raise FormatError(
            "broken HDF5 datatype", expected="version 1 to 5 and a size", found=f"version {version}, size {size}"
        )
    if kind == _INTEGER:
        return _integer(data[at : at + 4], bits, size), at + 4
    if kind == _FLOAT:
        return _float(data[at : at + 12], bits, size), at + 12
    if kind == _STRING:
        return StoredType("string", size, padding=bits & 15), at
    if kind == _OPAQUE:
        problem = f"opaque items of {size} bytes: their type is not stored"
        return StoredType("uint8", size, opaque=True, problem=problem), at + (bits & 0xFF)
    if kind == _VLEN:
        _, end = _parse(data, at, depth + 1)
        if bits & 15 == 1:
            return StoredType("string", size, vlen=True), end
        return _unreadable(kind, size), end
    if kind == _ENUM:
        return _enumeration(data, at, version, bits & 0xFFFF, size, depth)
    if kind == _COMPOUND:
        return _record(data, at, version, bits & 0xFFFF, size, depth)
    if kind == _ARRAY:
        rank = data[at] if at < len(data) else 0
        _, end = _parse(data, at + (1 + 4 * rank if version >= 3 else 4 + 8 * rank), depth + 1)
        return _unreadable(kind, size), end
    if kind == _NATIVE_COMPLEX:
        part, end = _parse(data, at, depth + 1)
        return _complex(part, size) or _unreadable(kind, size), end
    return _unreadable(kind, size), at + 4 * (kind == 4) + 2 * (kind == 2)


def _unreadable(kind: int, size: int) -> StoredType:
    return StoredType(
        "uint8", size, problem=f"holds {_CLASS_NAMES.get(kind, 'values of an unknown type')}, which are no tensor"
    )


def _integer(properties: bytes, bits: int, size: int) -> StoredType:
    name = f"{'int' if bits & 8 else 'uint'}{8 * size}"
    whole = properties == b"\0\0" + (8 * size & 0xFFFF).to_bytes(2, "little")
    if name not in dtypes.BY_NAME or dtypes.itemsize(name) != size or not whole:
        return StoredType("uint8", size, problem="holds integers of an unusual layout")
    return StoredType(name, size, swapped=bool(bits & 1) and size > 1)


def _float(properties: bytes, bits: int, size: int) -> StoredType:
    if len(properties) == 12:
        precision = int.from_bytes(properties[2:4], "little")
        layout = (precision, bits >> 8 & 0xFF, *properties[4:8], int.from_bytes(properties[8:], "little"))
        name = _FLOATS.get(layout)
        if name and properties[:2] == b"\0\0" and dtypes.itemsize(name) == size and not bits & 0x40:
            return StoredType(name, size, swapped=bool(bits & 1) and size > 1)
    return StoredType("uint8", size, problem="holds floating-point numbers of an unusual layout")


def _enumeration(data: bytes, at: int, version: int, count: int, size: int, depth: int) -> tuple[StoredType, int]:
    """Booleans, as h5py writes them (FALSE = 0, TRUE = 1 in one byte), or the integers that the names stand for."""
    base, at = _parse(data, at, depth + 1)
    names = []
    for _ in range(count):
        name, at = _name(data, at, padded=version < 3)
        names.append(name)
    end = at + count * base.itemsize
    if names == [b"FALSE", b"TRUE"] and size == 1 and data[at:end] == b"\0\1":
        return StoredType("bool", 1), end
    return base, end


def _record(data: bytes, at: int, version: int, count: int, size: int, depth: int) -> tuple[StoredType, int]:
    """Complex numbers, which are records of two equal floats one after the other, or something that is no tensor."""
    width = 4 if version < 3 else (size.bit_length() + 7) // 8
    members = []
    for _ in range(count):
        _, at = _name(data, at, padded=version < 3)
        offset = int.from_bytes(data[at : at + width], "little")
        part, at = _parse(data, at + width + (28 if version == 1 else 0), depth + 1)
        members.append((offset, part))
    if len(members) == 2 and members[0][1] == members[1][1] and [m[0] for m in members] == [0, size // 2]:
        return _complex(members[0][1], size) or _unreadable(_COMPOUND, size), at
    return _unreadable(_COMPOUND, size), at


def _complex(part: StoredType, size: int) -> StoredType | None:
    name = _COMPLEX.get(part.dtype)
    if name is None or size != 2 * part.itemsize or part.problem:
        return None
    return replace(part, dtype=name, itemsize=size, parts=2)


def _name(data: bytes, at: int, *, padded: bool) -> tuple[bytes, int]:
    """(name, where it ends): NUL-terminated, in older versions padded to a multiple of 8 bytes."""
    end = data.find(b"\0", at)
    if end < 0:
        raise FormatError("broken HDF5 datatype: a name without end")
    length = end + 1 - at
    return data[at:end], at + (-(-length // 8) * 8 if padded else length)
