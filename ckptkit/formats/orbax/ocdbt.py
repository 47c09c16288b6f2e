"""OCDBT, the key-value store in which Orbax keeps chunks: a manifest, and a B+tree whose leaves say where each value is.

Only the newest version is read. Nodes are walked without recursion, each once, and every place that they name is held
against the files that are there before anything is read from it.

Source: tensorstore/kvstore/ocdbt/index.rst, "Storage format".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.errors import ChecksumError, FormatError, LimitError, UnsupportedError
from ckptkit.formats.orbax import zstd

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

MANIFEST = "manifest.ocdbt"

MANIFEST_MAGIC, NODE_MAGIC = 0x0CDB3A2A, 0x0CDB20DE
_LONGEST_PATH = 4096
_MISSING = 0xFFFF_FFFF_FFFF_FFFF  # the offset of the root of a tree without keys

MAX_NODE_BYTES = 128 << 20
"""Unpacked: Orbax has them written up to 100,000,000 bytes."""
MAX_TREE_BYTES = 256 << 20
"""Of all nodes, unpacked."""
MAX_KEY_BYTES = 128 << 20
"""Of all keys together."""
MAX_ENTRIES = 2_000_000
"""Keys of all leaves."""
_MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value is: in a data file, or here.

    Attributes:
        file: path of the data file below the store's folder; "" for a value that is `inline`.
        offset: its first byte there.
        length: bytes.
        inline: the value itself, where it lies in the index.
    """

    file: str
    offset: int
    length: int
    inline: bytes | None = None


@dataclass(slots=True)
class _Cursor:
    """A node's bytes, and how far they have been read."""

    data: bytes | bytearray
    path: str
    at: int = 0

    def take(self, length: int) -> bytes:
        if self.at + length > len(self.data):
            raise _broken(self.path)
        self.at += length
        return bytes(self.data[self.at - length : self.at])

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        """An unsigned LEB128 number of at most 64 bits."""
        value = 0
        data, at = self.data, self.at
        for shift in range(0, 70, 7):
            if at >= len(data):
                break
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > _MISSING:
                    break
                self.at = at
                return value
        raise _broken(self.path)

    def varints(self, count: int) -> list[int]:
        if count > len(self.data) - self.at:  # each takes a byte at least
            raise _broken(self.path)
        return [self.varint() for _ in range(count)]


@dataclass(frozen=True, slots=True)
class _Child:
    """A node that is named: its place, the height it has to have, the prefix of its keys and the base of its paths."""

    file: str
    base: str
    offset: int
    length: int
    height: int
    prefix: bytes


@dataclass(slots=True)
class _Walk:
    """What has been read so far, against the limits."""

    opened: Callable[[str], Storage]
    path: str
    found: dict[bytes, Value] = field(default_factory=dict)
    nodes: int = 0
    unpacked: int = 0
    keys: int = 0


def read_entries(manifest: Storage, opened: Callable[[str], Storage]) -> dict[str, Value]:
    """Every key of the newest version of the store, in order, with the place of its value.

    Args:
        manifest: the file `manifest.ocdbt`.
        opened: gives the data file at a path below the store's folder; raises for what is none.

    Raises:
        FormatError: the manifest or a node is broken, or names a place that is not in a file.
        ChecksumError: one of them does not match its checksum.
        LimitError: more, longer or larger than an honest store has.
        UnsupportedError: another version of the format, or one whose manifests are numbered.
    """
    walk = _Walk(opened, manifest.name)
    pending = _roots(manifest, walk)
    while pending:
        child = pending.pop()
        walk.nodes += 1
        if walk.nodes > _MOST_NODES:
            raise _limit(walk.path, "nodes", _MOST_NODES)
        # The first child is taken up first, so that keys come in their order.
        pending += reversed(_read_node(child, walk))
    try:
        return {key.decode(): value for key, value in walk.found.items()}
    except UnicodeDecodeError as error:
        raise FormatError("a key of the store is not Unicode text", path=manifest.name) from error


def _roots(manifest: Storage, walk: _Walk) -> list[_Child]:
    from ckptkit.storage.bytes import read

    if manifest.size > MAX_NODE_BYTES:
        raise _limit(walk.path, "bytes of a manifest", MAX_NODE_BYTES)
    cursor = _body(bytes(read(manifest, 0, manifest.size)), MANIFEST_MAGIC, manifest.name, walk)
    cursor.take(16)  # identifies the database
    if cursor.varint() != 0:
        raise UnsupportedError(
            "an OCDBT store whose manifests are numbered is not read", path=manifest.name,
            hint="Save it again with Orbax, which keeps one manifest.",
        )  # fmt: skip
    cursor.varints(2)  # limits for what writes
    cursor.byte()
    if cursor.varint() == 1:
        cursor.take(4)
    files = _files(cursor, "")
    count = cursor.varint()
    if not count:
        raise _broken(manifest.name)
    cursor.varints(count)  # generations
    heights = list(cursor.take(count))
    places = _places(cursor, files, count, allow_missing=True)
    file, base, offset, length = places[-1]
    return [] if offset == _MISSING else [_Child(file, base, offset, length, heights[-1], b"")]


def _read_node(child: _Child, walk: _Walk) -> list[_Child]:
    """The children of an inner node; the entries of a leaf go to `walk.found`."""
    from ckptkit.storage.bytes import read

    storage = walk.opened(child.file)
    if child.length > min(MAX_NODE_BYTES, storage.size):
        raise _broken(storage.name)
    cursor = _body(bytes(read(storage, child.offset, child.length)), NODE_MAGIC, storage.name, walk)
    height = cursor.byte()
    if height != child.height:
        raise FormatError(
            "a node of the index has another height than its parent says", path=storage.name,
            expected=child.height, found=height,
        )  # fmt: skip
    files = _files(cursor, child.base)
    count = cursor.varint()
    if not count:
        raise _broken(storage.name)
    keys, commons = _keys(cursor, count, inner=height > 0)
    walk.keys += sum(map(len, keys)) + count * len(child.prefix)
    if walk.keys > MAX_KEY_BYTES:
        raise _limit(walk.path, "bytes of keys", MAX_KEY_BYTES)
    if height:
        places = _places(cursor, files, count)
        return [
            _Child(file, base, offset, length, height - 1, child.prefix + key[:common])
            for key, common, (file, base, offset, length) in zip(keys, commons, places, strict=True)
        ]
    for key, value in zip(keys, _values(cursor, files, count), strict=True):
        whole = child.prefix + key
        if whole in walk.found:
            raise FormatError("a key stands twice in the index", path=storage.name, key=whole.decode(errors="replace"))
        walk.found[whole] = value
    if len(walk.found) > MAX_ENTRIES:
        raise _limit(walk.path, "keys", MAX_ENTRIES)
    return []


def _body(whole: bytes, magic: int, path: str, walk: _Walk) -> _Cursor:
    """What follows the header of a manifest or node, checked and unpacked."""
    import crc32c

    if len(whole) < 18 or int.from_bytes(whole[:4], "big") != magic:
        raise FormatError("not an index of an OCDBT store", path=path, found=repr(whole[:4]))
    if int.from_bytes(whole[4:12], "little") != len(whole):
        raise FormatError(
            "the index is cut short", path=path, expected=f"{int.from_bytes(whole[4:12], 'little')} bytes",
            found=f"{len(whole)} bytes",
        )  # fmt: skip
    stored, found = int.from_bytes(whole[-4:], "little"), crc32c.crc32c(whole[:-4])
    if stored != found:
        raise ChecksumError(
            "the index does not match its checksum", path=path, expected=f"{stored:08x}", found=f"{found:08x}"
        )
    head = _Cursor(whole[:-4], path, 12)
    version, compression = head.varint(), head.varint()
    if version or compression > 1:
        raise UnsupportedError(
            "a newer version of OCDBT", path=path, expected="version 0, plain or zstd", found=(version, compression)
        )
    body: bytes | bytearray | None = whole[head.at : -4]
    if compression:
        body = zstd.unpacked_at_most(whole[head.at : -4], min(MAX_NODE_BYTES, MAX_TREE_BYTES - walk.unpacked))
    if body is None:
        raise FormatError("the index cannot be unpacked, or to more than it may be", path=path)
    walk.unpacked += len(body)
    if walk.unpacked > MAX_TREE_BYTES:
        raise _limit(walk.path, "bytes of its index", MAX_TREE_BYTES)
    return _Cursor(body, path)


def _files(cursor: _Cursor, base: str) -> list[tuple[str, str]]:
    """The table of data files: path below the store's folder, and the part of it that paths in a node there begin with."""
    count = cursor.varint()
    if not count:
        return []
    shared = [0, *cursor.varints(count - 1)]
    rest, bases = cursor.varints(count), cursor.varints(count)
    files = []
    before = b""
    for prefix, length, base_length in zip(shared, rest, bases, strict=True):
        path = before[:prefix] + cursor.take(length)
        if prefix > len(before) or len(path) > _LONGEST_PATH or base_length > len(path):
            raise _broken(cursor.path)
        before = path
        try:
            files.append((base + path.decode(), base + path[:base_length].decode()))
        except UnicodeDecodeError as error:
            raise _broken(cursor.path) from error
    return files


def _inside(path: str, index: str) -> str:
    """`path`, which leads nowhere but below the folder."""
    parts = path.split("/")
    if len(path) > _LONGEST_PATH or any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path:
        raise FormatError("the index names a file outside of its folder", path=index, found=path)
    if ":" in parts[0]:
        raise FormatError("the index names a file outside of its folder", path=index, found=path)
    return path


def _places(
    cursor: _Cursor, files: list[tuple[str, str]], count: int, *, allow_missing: bool = False
) -> list[tuple[str, str, int, int]]:
    """File, base, offset and length of `count` nodes; statistics that follow are passed over."""
    numbers, offsets, lengths = cursor.varints(count), cursor.varints(count), cursor.varints(count)
    cursor.varints(3 * count)
    places = []
    for number, offset, length in zip(numbers, offsets, lengths, strict=True):
        if offset == _MISSING and allow_missing:
            places.append(("", "", offset, 0))
            continue
        if number >= len(files):
            raise _broken(cursor.path)
        path, base = files[number]
        places.append((_inside(path, cursor.path), base, offset, length))
    return places


def _keys(cursor: _Cursor, count: int, *, inner: bool) -> tuple[list[bytes], list[int]]:
    """The keys of a node, without their common prefix; of an inner one also how much of each its child's keys share."""
    shared = [0, *cursor.varints(count - 1)]
    rest = cursor.varints(count)
    commons = cursor.varints(count) if inner else []
    keys: list[bytes] = []
    before = b""
    for prefix, length in zip(shared, rest, strict=True):
        key = before[:prefix] + cursor.take(length)
        if prefix > len(before) or len(key) > _LONGEST_PATH or (keys and key <= before):
            raise _broken(cursor.path)
        keys.append(key)
        before = key
    if any(common > len(key) for common, key in zip(commons, keys, strict=False)):
        raise _broken(cursor.path)
    return keys, commons


def _values(cursor: _Cursor, files: list[tuple[str, str]], count: int) -> list[Value]:
    lengths = cursor.varints(count)
    kinds = cursor.take(count)
    if any(kind > 1 for kind in kinds):
        raise _broken(cursor.path)
    away = sum(kinds)
    numbers, offsets = iter(cursor.varints(away)), iter(cursor.varints(away))
    values = []
    for length, kind in zip(lengths, kinds, strict=True):
        if not kind:
            values.append(Value("", 0, length, cursor.take(length)))
            continue
        number, offset = next(numbers), next(offsets)
        if number >= len(files):
            raise _broken(cursor.path)
        values.append(Value(_inside(files[number][0], cursor.path), offset, length))
    return values


def _broken(path: str) -> FormatError:
    return FormatError("the index of the OCDBT store is broken", path=path)


def _limit(path: str, what: str, most: int) -> LimitError:
    return LimitError(f"the OCDBT store has too many {what}", path=path, expected=f"at most {most}")
