"""A data file of a bundle while it is being written: items, one after the other, each with its entry for the index."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, FormatError, UnsupportedError, WriteError
from ckptkit.formats.partitions import Partition, part_pieces
from ckptkit.formats.tensorflow.bundle.checksum import crc32c, mask, unmask
from ckptkit.formats.tensorflow.bundle.entries import BundleEntry
from ckptkit.formats.tensorflow.bundle.reader import decode_key
from ckptkit.formats.tensorflow.bundle.source import Shards
from ckptkit.formats.tensorflow.bundle.strings import encode_strings, parse_strings
from ckptkit.formats.tensorflow.wire import naming
from ckptkit.model import WRITE_BYTES, TensorSource, TensorSpec
from ckptkit.storage.bytes import Storage, read
from ckptkit.storage.scratch import hold

Entries = list[tuple[bytes, BundleEntry]]


@dataclass(frozen=True, slots=True)
class New:
    """A tensor from the source, where `spec` names it."""

    key: bytes
    spec: TensorSpec

    @property
    def nbytes(self) -> int:
        """About as much as it takes in the file."""
        return self.spec.nbytes


@dataclass(frozen=True, slots=True)
class Made:
    """A string that is made here."""

    key: bytes
    value: bytes

    @property
    def nbytes(self) -> int:
        """See `New.nbytes`."""
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Partitioned:
    """A tensor from the source that is stored in parts, each under a key of its own."""

    spec: TensorSpec
    parts: tuple[tuple[bytes, Partition], ...]

    @property
    def nbytes(self) -> int:
        """See `New.nbytes`."""
        return self.spec.nbytes


@dataclass(frozen=True, slots=True)
class Copied:
    """What another bundle stores under this key."""

    key: bytes
    entry: BundleEntry

    @property
    def nbytes(self) -> int:
        """See `New.nbytes`."""
        return self.entry.size


class Writable(Protocol):
    """A file that is written to."""

    def write(self, data: bytes | bytearray | memoryview, /) -> object:
        """All of `data`."""


Item = New | Made | Partitioned | Copied


def write_items(
    file: Writable, number: int, items: Iterable[Item], source: TensorSource, template: Shards | None
) -> Entries:
    """Write `items` into data file `number`.

    Args:
        file: open and empty.
        number: of the file among the bundle's.
        items: in the order in which they are to lie.
        source: gives the bytes of what is new.
        template: the data files of the bundle that `Copied` items are of.

    Returns:
        Their entries, in order.

    Raises:
        CkptkitError: what is to be copied cannot be read, does not fit, or what `source` raises.
    """
    output = _Output(file, number)
    for item in items:
        match item:
            case New(key, spec):
                output.add(key, spec, source)
            case Made(key, value):
                output.add_strings(key, (), [value])
            case Partitioned(spec, parts):
                output.add_parts(spec, parts, source)
            case Copied(key, entry) if template is not None:
                with naming(template.prefix.text, decode_key(key)):
                    output.copy(key, entry, template)
    return output.entries


class _Output:
    """The data file that is being written, and the entries of what is in it."""

    def __init__(self, file: Writable, shard: int) -> None:
        self._file = file
        self._shard = shard
        self._offset = 0
        self.entries: Entries = []

    def add(self, key: bytes, spec: TensorSpec, source: TensorSource) -> None:
        """A tensor with its data from `source`."""
        if spec.dtype == "string":
            self.add_strings(key, spec.shape, source.read_strings(spec.name))
        else:
            buffer = memoryview(bytearray(min(WRITE_BYTES, max(spec.nbytes, 1))))
            self.add_pieces(key, spec, source.stream(spec.name, buffer))

    def add_pieces(self, key: bytes, spec: TensorSpec, pieces: Iterable[memoryview]) -> None:
        """A tensor with its data in pieces."""
        row = dtypes.BY_NAME.get(spec.dtype)
        if row is None or row.tensorflow is None:
            raise UnsupportedError("a type that TensorFlow's checkpoints do not have", key=spec.name, found=spec.dtype)
        size = crc = 0
        for piece in pieces:
            self._file.write(piece)
            crc = crc32c(piece, crc)
            size += len(piece)
        if size != spec.nbytes:
            raise WriteError(
                "the data does not fit the shape", key=spec.name, expected=f"{spec.nbytes} bytes", found=size
            )
        self._note(key, row.tensorflow, spec.shape, size, mask(crc))

    def add_strings(self, key: bytes, shape: tuple[int, ...], strings: list[bytes]) -> None:
        """A tensor of strings."""
        if len(strings) != math.prod(shape):
            raise WriteError("the strings do not fit the shape", expected=math.prod(shape), found=len(strings))
        stored, crc = encode_strings(strings)
        self._file.write(stored)
        self._note(key, dtypes.BY_NAME["string"].tensorflow or 0, shape, len(stored), crc)

    def add_parts(self, spec: TensorSpec, parts: Sequence[tuple[bytes, Partition]], source: TensorSource) -> None:
        """A tensor in parts; it is whole and verified, in memory or in a temporary file, before one is written."""
        buffer = memoryview(bytearray(min(WRITE_BYTES, max(spec.nbytes, 1))))
        pieces = (bytes(piece) for piece in source.stream(spec.name, buffer))
        with closing(hold(spec.name, spec.nbytes, pieces)) as whole:
            for key, part in parts:
                buffer = memoryview(bytearray(WRITE_BYTES))
                found = part_pieces(part, spec.shape, dtypes.itemsize(spec.dtype), whole.read_into, buffer)
                self.add_pieces(key, TensorSpec(spec.name, part.lengths, spec.dtype), found)

    def copy(self, key: bytes, entry: BundleEntry, shards: Shards) -> None:
        """An entry of another bundle, its bytes as they are once their checksum holds."""
        row = dtypes.BY_TENSORFLOW.get(entry.dtype)
        if entry.shape is None or entry.offset < 0 or entry.size < 0 or not 0 <= entry.shard < shards.count:
            raise FormatError("its entry in the template is malformed")
        problem = shards.problem(entry.shard, entry.offset + entry.size) if entry.size else None
        if problem:
            raise FormatError(problem)
        if row is not None and not row.itemsize:
            stored = read(shards.open(entry.shard), entry.offset, entry.size)
            parse_strings(stored, math.prod(entry.shape), entry.crc)
            self._file.write(stored)
        else:
            crc = 0
            for piece in _stored_pieces(shards.open(entry.shard), entry) if entry.size else ():
                self._file.write(piece)
                crc = crc32c(piece, crc)
            # Variants have a checksum of their own kind, which goes along as it is.
            if row is not None and crc != unmask(entry.crc):
                raise ChecksumError(
                    "the data does not match its checksum",
                    expected=f"crc32c {unmask(entry.crc):08x}",
                    found=f"{crc:08x}",
                )
        self._note(key, entry.dtype, entry.shape, entry.size, entry.crc)

    def _note(self, key: bytes, dtype: int, shape: tuple[int, ...], size: int, crc: int) -> None:
        self.entries.append((key, BundleEntry(dtype, shape, self._shard, self._offset, size, crc)))
        self._offset += size


def _stored_pieces(storage: Storage, entry: BundleEntry) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(WRITE_BYTES, entry.size)))
    for at in range(entry.offset, entry.offset + entry.size, WRITE_BYTES):
        piece = buffer[: min(len(buffer), entry.offset + entry.size - at)]
        storage.read_into(at, piece)
        yield piece
