"""Files of `torch.save` laid out byte by byte, without torch: what it writes, and what it never would."""

from __future__ import annotations

import io
import math
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ckptkit import dtypes

MAGIC = 0x1950A86A20F9469CFC6C
CLASSES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage", "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}  # fmt: skip


@dataclass(eq=False)
class Name:
    """Something that would be imported."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """Something that would be called, and what would be done to it afterwards."""

    of: Any
    args: tuple = ()
    pairs: Sequence[tuple[Any, Any]] = ()
    state: Any = None


@dataclass(eq=False)
class Pers:
    """Something outside of the pickle."""

    id: Any


@dataclass(eq=False)
class Raw:
    """Opcodes as they are."""

    opcodes: bytes


def dump(value: Any) -> bytes:
    """The pickle of `value` in protocol 2."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: Any) -> bytes:
    """The opcodes that put `value` on the stack."""
    match value:
        case Raw(found):
            return found
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(raw)]) + raw
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return b"X" + struct.pack("<I", len(raw)) + raw
        case bytes():
            return opcodes(Call(Name("_codecs", "encode"), (value.decode("latin-1"), "latin1")))
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}" + _items(list(value.items()))
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Pers(found):
            return opcodes(found) + b"Q"
        case Call(of, args, pairs, state):
            built = b"" if state is None else opcodes(state) + b"b"
            return opcodes(of) + opcodes(args) + b"R" + (_items(pairs) if pairs else b"") + built
    raise TypeError(value)


def _items(pairs: Sequence[tuple[Any, Any]]) -> bytes:
    return b"(" + b"".join(opcodes(key) + opcodes(value) for key, value in pairs) + b"u"


def ordered(pairs: Mapping[str, Any], state: Any = None) -> Call:
    """An `OrderedDict`."""
    return Call(Name("collections", "OrderedDict"), (), list(pairs.items()), state)


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of an array in C order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(eq=False)
class Storages:
    """The storages of a file, filled as tensors are made."""

    held: dict[str, bytes] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    big: bool = False

    def add(self, value: np.ndarray, key: str | None = None) -> Pers:
        """The persistent id of a storage of the array's items, as they lie in memory."""
        key = str(len(self.held)) if key is None else key
        dtype = value.dtype.name
        flat = np.ascontiguousarray(value).reshape(-1)
        if self.big and flat.dtype.itemsize > 1:
            unit = flat.dtype.itemsize // 2 if flat.dtype.kind == "c" else flat.dtype.itemsize
            flat = flat.view(f"u{unit}").byteswap()
        self.held[key] = flat.tobytes()
        self.items[key] = value.size
        return stored(key, value.size, dtype)

    def tensor(self, value: np.ndarray) -> Call:
        """A tensor in C order that is all of a storage of its own."""
        return rebuilt(self.add(value), value.shape, dtype=value.dtype.name)


def stored(key: str, items: int, dtype: str = "float32", kind: Any = None) -> Pers:
    """The persistent id of a storage."""
    if kind is None and dtype not in CLASSES:
        kind, items = Name("torch.storage", "UntypedStorage"), items * dtypes.itemsize(dtype)
    return Pers(("storage", kind or Name("torch", CLASSES[dtype]), key, "cpu", items))


def rebuilt(
    storage: Any, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0, *,
    metadata: Any = None, dtype: str = "float32",
) -> Call:  # fmt: skip
    """`_rebuild_tensor_v2`, or `_rebuild_tensor_v3` for what has no class of storages."""
    args = (storage, offset, tuple(shape), tuple(strides_of(shape) if strides is None else strides), False, ordered({}))
    if dtype not in CLASSES:
        args += (Name("torch", dtype),)
    function = "_rebuild_tensor_v2" if dtype in CLASSES else "_rebuild_tensor_v3"
    return Call(Name("torch._utils", function), args if metadata is None else (*args, metadata))


def archive(
    value: Any, storages: Storages | None = None, *, prefix: str = "archive/", order: str | None = "little",
    method: int = zipfile.ZIP_STORED, more: Mapping[str, bytes] | None = None,
) -> bytes:  # fmt: skip
    """A zip archive as PyTorch 2 lays it out."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        opened.writestr(f"{prefix}data.pkl", value if isinstance(value, bytes) else dump(value))
        if order is not None:
            opened.writestr(f"{prefix}byteorder", order)
        for key, data in (storages.held if storages else {}).items():
            opened.writestr(f"{prefix}data/{key}", data)
        opened.writestr(f"{prefix}version", "3\n")
        for name, data in (more or {}).items():
            opened.writestr(name, data)
    return out.getvalue()


def stream(value: Any, storages: Storages | None = None) -> bytes:
    """A stream of pickles as PyTorch before 1.6 laid it out."""
    held, items = (storages.held, storages.items) if storages else ({}, {})
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = dump(MAGIC) + dump(1001) + dump(system) + dump(value) + dump(sorted(held))
    return head + b"".join(struct.pack("<q", _length(key, held, items)) + held[key] for key in sorted(held))


def _length(key: str, held: Mapping[str, bytes], items: Mapping[str, int]) -> int:
    return items.get(key, len(held[key]))


def tar(tensors: Mapping[str, np.ndarray]) -> bytes:
    """A tar archive as PyTorch 0.1 laid it out: a dictionary of tensors, each of its own storage, by number."""
    storages, records, value = dump(len(tensors)), dump(len(tensors)), {}
    for number, (name, array) in enumerate(tensors.items()):
        own, key = 1000 + number, 2000 + number
        kind = Name("torch", CLASSES[array.dtype.name])
        storages += dump((own, "cpu", kind)) + struct.pack("<q", array.size) + np.ascontiguousarray(array).tobytes()
        records += dump((key, own, Name("torch", kind.name.replace("Storage", "Tensor"))))
        sizes = (*array.shape, *strides_of(array.shape), 0)
        records += struct.pack("<i4x", array.ndim) + struct.pack(f"<{len(sizes)}q", *sizes)
        value[name] = Pers(key)
    members = {"sys_info": dump({}), "pickle": dump(value), "tensors": records, "storages": storages + dump([])}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as opened:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mtime = 1.5  # type: ignore[assignment]  # fractions need a header of their own
            opened.addfile(entry, io.BytesIO(data))
    return out.getvalue()
