"""OCDBT by hand: what tensorstore writes, and what it never would (tensorstore/kvstore/ocdbt/index.rst)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crc32c

MANIFEST_MAGIC, NODE_MAGIC = 0x0CDB3A2A, 0x0CDB20DE


@dataclass(frozen=True, slots=True)
class Ref:
    """Bytes in a data file."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Child:
    """A node that an inner one names."""

    ref: Ref
    common: int = 0


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def varints(*values: int) -> bytes:
    return b"".join(map(varint, values))


def sealed(magic: int, body: bytes, *, version: int = 0, compression: int = 0) -> bytes:
    head = varints(version, compression)
    length = 12 + len(head) + len(body) + 4
    whole = struct.pack(">I", magic) + struct.pack("<Q", length) + head + body
    return whole + struct.pack("<I", crc32c.crc32c(whole))


def table(files: Sequence[tuple[str, str]]) -> bytes:
    """A table of (base, path below it)."""
    paths = [(base + rest).encode() for base, rest in files]
    shared = [0] * max(0, len(paths) - 1)
    return varints(len(paths), *shared, *map(len, paths), *(len(base.encode()) for base, _ in files)) + b"".join(paths)


def leaf(values: Mapping[str, bytes | Ref], files: Sequence[tuple[str, str]] = ()) -> bytes:
    """A leaf node; values are inline, or somewhere."""
    names = [base + rest for base, rest in files]
    keys = [key.encode() for key in sorted(values)]
    found = [values[key] for key in sorted(values)]
    away = [value for value in found if isinstance(value, Ref)]
    body = bytes([0]) + table(files) + varint(len(keys))
    body += varints(*([0] * (len(keys) - 1)), *map(len, keys)) + b"".join(keys)
    body += varints(*(value.length if isinstance(value, Ref) else len(value) for value in found))
    body += bytes(isinstance(value, Ref) for value in found)
    body += varints(*(names.index(value.file) for value in away), *(value.offset for value in away))
    return sealed(NODE_MAGIC, body + b"".join(value for value in found if not isinstance(value, Ref)))


def inner(height: int, children: Mapping[str, Child], files: Sequence[tuple[str, str]]) -> bytes:
    names = [base + rest for base, rest in files]
    keys = [key.encode() for key in sorted(children)]
    found = [children[key] for key in sorted(children)]
    body = bytes([height]) + table(files) + varint(len(keys))
    body += varints(*([0] * (len(keys) - 1)), *map(len, keys), *(child.common for child in found)) + b"".join(keys)
    body += places([child.ref for child in found], names)
    return sealed(NODE_MAGIC, body)


def places(refs: Sequence[Ref], names: Sequence[str]) -> bytes:
    count = len(refs)
    numbers = [names.index(ref.file) for ref in refs]
    statistics = [0] * (3 * count)
    return varints(*numbers, *(ref.offset for ref in refs), *(ref.length for ref in refs), *statistics)


def manifest(root: Ref | None, height: int = 0, *, base: str = "", kind: int = 0) -> bytes:
    body = bytes(16) + varints(kind, 1024, 100_000_000) + bytes([4]) + varint(0)
    files = [] if root is None else [(base, root.file.removeprefix(base))]
    body += table(files) + varints(1, 1) + bytes([height])
    missing = Ref("", (1 << 64) - 1, 0)
    body += places([root or missing], [root.file if root else ""]) + struct.pack("<Q", 1)
    return sealed(MANIFEST_MAGIC, body + varint(0))


def array(shape: Sequence[int], chunks: Sequence[int], **more: Any) -> bytes:
    """The metadata of an array of zarr 2."""
    value = {
        "zarr_format": 2, "shape": list(shape), "chunks": list(chunks), "dtype": "<f4", "compressor": None,
        "fill_value": None, "order": "C", "filters": None, "dimension_separator": ".", **more,
    }  # fmt: skip
    return json.dumps(value).encode()


def tree(*names: str, **more: Any) -> str:
    """`_METADATA` of a flat tree."""
    entries = {
        f"('{name}',)": {"key_metadata": [{"key": name, "key_type": 2}], "value_metadata": {"value_type": "jax.Array"}}
        for name in names
    }
    flags = {"use_ocdbt": True, "use_zarr3": False, "store_array_data_equal_to_fill_value": True}
    return json.dumps({"tree_metadata": entries, **flags, **more})


def item(folder: Path, *names: str, nodes: bytes, height: int = 0, file: str = "d/0", **more: Any) -> Path:
    """An item whose data file `file` is `nodes`, of which the first is the root."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(nodes)
    length = struct.unpack("<Q", nodes[4:12])[0]
    (folder / "manifest.ocdbt").write_bytes(manifest(Ref(file, 0, length), height))
    (folder / "_METADATA").write_text(tree(*names, **more))
    return folder
