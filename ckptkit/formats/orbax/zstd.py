"""Zstandard under limits: whole where the result is small, in pieces where a library for it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.storage.bytes import check_range, read

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

# Of a frame, at once.
_READ_BYTES = 1 << 18


class BrokenFrameError(Exception):
    """Not a Zstandard frame, or not one of the size that it has to have."""


def unpacked(packed: bytes | bytearray, size: int) -> bytearray:
    """What `packed` unpacks to, which has to be `size` bytes; else `BrokenFrameError`."""
    import cramjam

    data = bytearray(size)
    try:
        found = cramjam.zstd.decompress_into(packed, data)
    except (cramjam.DecompressionError, ValueError) as error:
        raise BrokenFrameError from error
    if found != size:
        raise BrokenFrameError
    return data


def unpacked_at_most(packed: bytes | bytearray, limit: int) -> bytearray | None:
    """What `packed` unpacks to, or None where it is broken, or unpacks to more than `limit` bytes."""
    import cramjam

    room = max(16 * len(packed), 1 << 16)
    while True:
        data = bytearray(min(room, limit))
        try:
            return data[: cramjam.zstd.decompress_into(packed, data)]
        except (cramjam.DecompressionError, ValueError):
            if len(data) >= limit:
                return None
            room *= 8


class Frame:
    """A frame that is unpacked as it is asked for, in memory of the size of its window."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def fill(self, view: memoryview) -> None:
        """Fill `view` with what comes next; `BrokenFrameError` where less does."""
        import zstandard  # type: ignore[import-not-found, unused-ignore]

        done = 0
        while done < len(view):
            try:
                count = self._reader.readinto(view[done:])
            except zstandard.ZstdError as error:
                raise BrokenFrameError from error
            if not count:
                raise BrokenFrameError
            done += count

    def finish(self) -> None:
        """Raise `BrokenFrameError` unless all has been read, and the checksum fits where the frame has one."""
        import zstandard  # type: ignore[import-not-found, unused-ignore]

        try:
            if self._reader.read(1):
                raise BrokenFrameError
        except zstandard.ZstdError as error:
            raise BrokenFrameError from error


def frame(storage: Storage, offset: int, length: int) -> Frame | None:
    """The frame in `length` bytes of `storage`; None where the package for it is not installed."""
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    source = _Packed(storage, offset, length)
    return Frame(zstandard.ZstdDecompressor().stream_reader(source, read_size=_READ_BYTES, closefd=False))


class _Packed:
    """What the package reads from; a file object that looks ahead would copy all of it once more."""

    def __init__(self, storage: Storage, offset: int, length: int) -> None:
        check_range(storage, offset, length)
        self._storage, self._at, self._end = storage, offset, offset + length

    def read(self, size: int) -> bytearray:
        """The next `size` bytes, or what is left."""
        data = read(self._storage, self._at, min(size, self._end - self._at))
        self._at += len(data)
        return data
