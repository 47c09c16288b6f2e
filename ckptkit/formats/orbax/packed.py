"""The bytes of one chunk, unpacked as they are asked for."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, MissingDependencyError
from ckptkit.formats.orbax import zstd
from ckptkit.formats.orbax.blosc import unpack_blosc
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from ckptkit.formats.orbax.zarr import Codec
    from ckptkit.storage.bytes import Storage

MAX_WHOLE_BYTES = 128 << 20
"""Of a chunk that can only be unpacked whole."""

# Up to here one call is faster than pieces, and takes no memory to speak of.
_SMALL = 1 << 20
_READ_BYTES = 1 << 17
_CHECKSUM_BYTES = 4


class Unpacked(Protocol):
    """The elements of a chunk, from the first one on."""

    def fill(self, view: memoryview) -> None:
        """Fill `view` with what comes next; raises where less does."""

    def finish(self) -> None:
        """Raise unless that was all."""


def unpack(storage: Storage, offset: int, length: int, codec: Codec, size: int, key: str) -> Unpacked:
    """The `size` bytes of elements of a chunk that takes `length` bytes of `storage`.

    Raises:
        ChecksumError: the chunk does not match its checksum.
        FormatError: it is cut short, or no chunk of this size; also later, from what is returned.
        LimitError: it is too large for what has to be unpacked whole.
        MissingDependencyError: only an optional package unpacks it.
    """
    if codec.checksum:
        length -= _CHECKSUM_BYTES
        _verify(storage, offset, length, key)
    found: Unpacked
    if codec.packing is None:
        found = _Plain(storage, offset, length, size)
    elif codec.packing == "gzip":
        found = _Inflated(storage, offset, length)
    elif codec.packing == "zstd" and size > _SMALL and (frame := zstd.frame(storage, offset, length)) is not None:
        found = frame
    else:
        found = _Whole(_unpacked(storage, offset, length, codec.packing, size, key))
    return _Named(found, storage.name, key, size)


def _unpacked(storage: Storage, offset: int, length: int, packing: str, size: int, key: str) -> bytes | bytearray:
    if size > MAX_WHOLE_BYTES:
        if packing == "zstd":
            raise MissingDependencyError(
                "a chunk of this size is unpacked in pieces, which needs the package zstandard", path=storage.name,
                key=key, found=f"{size} bytes", hint="pip install 'ckptkit[orbax]'",
            )  # fmt: skip
        raise LimitError(
            "a chunk that has to be unpacked whole is too large", path=storage.name, key=key,
            expected=f"at most {MAX_WHOLE_BYTES} bytes", found=size,
        )  # fmt: skip
    packed = read(storage, offset, length)
    if packing == "blosc":
        return unpack_blosc(packed, size, path=storage.name, key=key)
    try:
        return zstd.unpacked(packed, size)
    except zstd.BrokenFrameError as error:
        raise _broken(storage.name, key, size) from error


def _verify(storage: Storage, offset: int, length: int, key: str) -> None:
    import crc32c

    found = 0
    if length >= 0:
        for piece in storage.stream(offset, length, memoryview(bytearray(min(_READ_BYTES, max(length, 1))))):
            found = crc32c.crc32c(piece, found)
    stored = int.from_bytes(read(storage, offset + max(length, 0), _CHECKSUM_BYTES), "little")
    if length < 0 or stored != found:
        raise ChecksumError(
            "a chunk does not match its checksum", path=storage.name, key=key, expected=f"{stored:08x}",
            found=f"{found:08x}",
        )  # fmt: skip


class _Named:
    """Says of an error in which file and tensor it is."""

    def __init__(self, inner: Unpacked, path: str, key: str, size: int) -> None:
        self._inner = inner
        self._where = path, key, size

    def fill(self, view: memoryview) -> None:
        try:
            self._inner.fill(view)
        except CkptkitError:
            raise
        except (zstd.BrokenFrameError, zlib.error) as error:
            raise _broken(*self._where) from error

    def finish(self) -> None:
        try:
            self._inner.finish()
        except (zstd.BrokenFrameError, zlib.error) as error:
            raise _broken(*self._where) from error


class _Whole:
    def __init__(self, data: bytes | bytearray) -> None:
        self._data = memoryview(data)

    def fill(self, view: memoryview) -> None:
        if len(view) > len(self._data):
            raise zstd.BrokenFrameError
        view[:] = self._data[: len(view)]
        self._data = self._data[len(view) :]

    def finish(self) -> None:
        if len(self._data):
            raise zstd.BrokenFrameError


class _Plain:
    def __init__(self, storage: Storage, offset: int, length: int, size: int) -> None:
        self._storage, self._at, self._end = storage, offset, offset + length
        self._size, self._length = size, length

    def fill(self, view: memoryview) -> None:
        if self._length != self._size:
            raise zstd.BrokenFrameError
        self._storage.read_into(self._at, view)
        self._at += len(view)

    def finish(self) -> None:
        if self._at != self._end:
            raise zstd.BrokenFrameError


class _Inflated:
    """Deflate with the header of gzip or zlib (zarr's codecs `gzip` and `zlib`)."""

    def __init__(self, storage: Storage, offset: int, length: int) -> None:
        self._storage, self._at, self._end = storage, offset, offset + length
        self._inflater = zlib.decompressobj(wbits=47)  # either header

    def fill(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            piece = self._next(len(view) - done)
            if not piece:
                raise zstd.BrokenFrameError
            view[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self) -> None:
        if self._next(1) or not self._inflater.eof or self._inflater.unused_data or self._at != self._end:
            raise zstd.BrokenFrameError

    def _next(self, most: int) -> bytes:
        """Up to `most` bytes; none at the end."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail
            if not packed:
                packed = bytes(read(self._storage, self._at, min(_READ_BYTES, self._end - self._at)))
                self._at += len(packed)
            piece = self._inflater.decompress(packed, most)
            if piece:
                return piece
            if not packed:
                break
        return b""


def _broken(path: str, key: str, size: int) -> FormatError:
    return FormatError(
        "a chunk does not unpack to its size, or is damaged", path=path, key=key, expected=f"{size} bytes"
    )
