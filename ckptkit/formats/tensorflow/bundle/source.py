"""The data of an open bundle: shards opened when they are first read, checksums verified as bytes go by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from ckptkit.errors import ChecksumError, CkptkitError, FormatError, NotFoundError, UnsupportedError
from ckptkit.formats.partitions import Partition, read_joined
from ckptkit.formats.tensorflow.bundle.checksum import crc32c, unmask
from ckptkit.formats.tensorflow.bundle.strings import check_size, parse_strings
from ckptkit.formats.tensorflow.names import shard_address
from ckptkit.formats.tensorflow.wire import naming
from ckptkit.storage.bytes import Storage, read
from ckptkit.storage.crc import CRC32C, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.formats.tensorflow.bundle.entries import BundleEntry
    from ckptkit.model.ranges import Sum
    from ckptkit.storage.address import Address

_AT_ONCE_BYTES = 1 << 12
"""Most bytes of a tensor that is read and verified in one call."""

_LFS_SIGNATURE = b"version https://git-lfs"


class Shards:
    """The data files of a bundle."""

    def __init__(self, prefix: Address, count: int) -> None:
        self.prefix = prefix
        self.count = count
        self._open: dict[int, Storage] = {}
        self._sizes: dict[int, int | str] = {}
        self._lock = threading.Lock()

    def problem(self, shard: int, end: int) -> str | None:
        """Why bytes up to `end` of file `shard` cannot be read, or None. Looks at the file, does not open it."""
        size = self._sizes.get(shard)
        if size is None:
            size = self._sizes[shard] = self._measure(shard)
        if isinstance(size, str):
            return size
        return None if end <= size else f"its shard is cut short (has {size} bytes, needs {end})"

    def _measure(self, shard: int) -> int | str:
        path = shard_address(self.prefix, shard, self.count)
        try:
            size = path.size()
            if size < 1024 and _is_lfs_pointer(path, size):
                return "its shard is a git-lfs pointer, not the data (run `git lfs pull`)"
        except NotFoundError:
            return "its shard is missing"
        except CkptkitError as error:
            return f"its shard cannot be read: {error.problem}"
        return size

    def open(self, shard: int) -> Storage:
        """File number `shard`, opened once."""
        with self._lock:
            storage = self._open.get(shard)
            if storage is None:
                storage = self._open[shard] = shard_address(self.prefix, shard, self.count).open()
            return storage

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def _is_lfs_pointer(path: Address, size: int) -> bool:
    if size < len(_LFS_SIGNATURE):
        return False
    storage = path.open()
    try:
        return read(storage, 0, len(_LFS_SIGNATURE)) == _LFS_SIGNATURE
    finally:
        storage.close()


class ValuePlace(NamedTuple):
    """Where the value of one tensor lies.

    A named tuple because 100,000 of them are made while a person waits.
    """

    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    nbytes: int
    entries: tuple[BundleEntry, ...]
    """One, or that of each part."""
    parts: tuple[Partition, ...]
    """Empty for a tensor in one piece."""
    problem: str | None


class BundleSource:
    """`TensorSource` of a bundle."""

    def __init__(self, shards: Shards, places: Mapping[str, ValuePlace]) -> None:
        self._shards = shards
        self._places = places

    def _place(self, key: str) -> ValuePlace:
        place = self._places.get(key)
        if place is None:
            raise NotFoundError("no such variable", path=self._shards.prefix, key=key)
        if place.problem:
            raise FormatError(place.problem, path=self._shards.prefix, key=key)
        return place

    def stored_checksum(self, key: str) -> str:
        """See `ChecksummedSource.stored_checksum`; those of its parts for a tensor in several."""
        return "crc32c:" + "+".join(f"{unmask(entry.crc):08x}" for entry in self._place(key).entries)

    def _numeric(self, key: str) -> ValuePlace:
        place = self._place(key)
        if not place.itemsize:
            raise UnsupportedError("strings are not read as bytes", path=self._shards.prefix, key=key)
        return place

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        place = self._numeric(key)
        if offset < 0 or offset + len(buffer) > place.nbytes:
            raise FormatError(
                "a range beyond the tensor was asked for", path=self._shards.prefix, key=key,
                expected=f"at most {place.nbytes} bytes", found=offset + len(buffer),
            )  # fmt: skip
        self._read(place, offset, buffer, None)

    def _read(self, place: ValuePlace, offset: int, buffer: memoryview, sums: list[Sum] | None) -> None:
        """Fill `buffer`; `sums`, one per entry, take in the bytes of each."""

        def read_entry(number: int, at: int, into: memoryview) -> None:
            entry = place.entries[number]
            self._shards.open(entry.shard).read_into(entry.offset + at, into)
            if sums is not None:
                crc, length = sums[number]
                sums[number] = crc32c(into, crc), length + len(into)

        if place.parts:
            read_joined(place.parts, place.shape, place.itemsize, offset, buffer, read_entry)
        else:
            read_entry(0, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`; pieces hold whole elements where `buffer` has room for one."""
        place = self._places.get(key)
        if place and place.itemsize and not place.parts and not place.problem and place.nbytes <= _AT_ONCE_BYTES:
            # Of small tensors there may be 100,000, and then what each costs is what its calls cost.
            entry, piece = place.entries[0], buffer[: place.nbytes]
            if len(piece) == place.nbytes:
                self._shards.open(entry.shard).read_into(entry.offset, piece)
                self._verify(key, entry, crc32c(piece))
                yield piece
                return
        sums: list[Sum] = []
        yield from self.stream_range(key, 0, self._numeric(key).nbytes, buffer, sums)
        self.verify_ranges(key, [sums])

    def can_cut(self, key: str) -> bool:
        """See `RangedSource.can_cut`."""
        return self._place(key).itemsize > 0

    def stream_range(
        self, key: str, start: int, stop: int, buffer: memoryview, sums: list[Sum]
    ) -> Iterator[memoryview]:
        """See `RangedSource.stream_range`; one sum for each part of a partitioned variable."""
        place = self._numeric(key)
        found = [(0, 0)] * len(place.entries)
        step = len(buffer) - len(buffer) % place.itemsize or len(buffer)
        if place.parts:
            for at in range(start, stop, step):
                piece = buffer[: min(step, stop - at)]
                self._read(place, at, piece, found)
                yield piece
        else:
            entry, crc = place.entries[0], 0
            for piece in self._shards.open(entry.shard).stream(entry.offset + start, stop - start, buffer[:step]):
                crc = crc32c(piece, crc)
                yield piece
            found[0] = crc, stop - start
        sums += found

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """See `RangedSource.verify_ranges`."""
        for number, entry in enumerate(self._numeric(key).entries):
            self._verify(key, entry, joined((found[number] for found in sums), CRC32C))

    def _verify(self, key: str, entry: BundleEntry, crc: int) -> None:
        if crc != unmask(entry.crc):
            raise ChecksumError(
                "the data does not match its checksum", path=self._shards.prefix, key=key,
                expected=f"crc32c {unmask(entry.crc):08x}", found=f"{crc:08x}",
            )  # fmt: skip

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        place = self._place(key)
        if place.itemsize:
            raise UnsupportedError("not a tensor of strings", path=self._shards.prefix, key=key)
        entry = place.entries[0]
        count = 1
        for size in place.shape:
            count *= size
        with naming(self._shards.prefix.text, key):
            check_size(count, entry.size)
            data = read(self._shards.open(entry.shard), entry.offset, entry.size)
            return parse_strings(data, count, entry.crc)

    def close(self) -> None:
        """See `TensorSource.close`."""
        self._shards.close()
