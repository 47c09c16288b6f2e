"""What the header messages of a dataset say: extent, layout, filters, fill value (IV.A.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptkit.formats.hdf5.file import Hdf5File

COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)

# Indexes of chunks: by a B-tree of version 1 before HDF5 1.10, later one of these (IV.A.2.i, version 4).
TREE_INDEX, SINGLE_INDEX, IMPLICIT_INDEX, FIXED_ARRAY_INDEX, EXTENSIBLE_ARRAY_INDEX, RECORDS_INDEX = range(6)
# What stands between the number of the index and its address: fixed array, extensible array, B-tree of version 2.
_INDEX_BYTES = {3: 1, 4: 5, 5: 6}

_MAX_RANK = 32


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a dataset lie.

    Attributes:
        kind: one of the four above.
        address: of the data or of the index of the chunks; None where nothing was stored yet.
        size: bytes of the data, of a compact or contiguous dataset.
        data: the elements themselves, of a compact dataset.
        chunk: dimensions of a chunk.
        index: which kind of index finds the chunks.
        single: (size, skipped filters) of the only chunk, where there is one and it is filtered.
    """

    kind: int
    address: int | None = None
    size: int = 0
    data: bytes = b""
    chunk: tuple[int, ...] | None = None
    index: int = TREE_INDEX
    single: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """The dimensions of a dataset, and what they may become; None for any size."""

    shape: tuple[int, ...]
    limits: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """One step of the pipeline that chunks went through: its registered number and its parameters."""

    number: int
    parameters: tuple[int, ...]


def parse_extent(file: Hdf5File, body: bytes) -> Extent | None:
    """What a dataspace message says; None for a null one, which has no value.

    Raises:
        FormatError: it is broken.
    """
    version, rank = (body[0], body[1]) if len(body) >= 4 else (0, 0)
    if version not in (1, 2) or rank > _MAX_RANK:
        raise file.broken("broken dataspace", expected="version 1 or 2", found=f"version {version}, {rank} dimensions")
    at = 8 if version == 1 else 4
    if version == 2 and body[3] == 2:
        return None
    shape = _numbers(file, body, at, rank, file.length_size)
    if not body[2] & 1:
        return Extent(shape, shape)
    endless = (1 << 8 * file.length_size) - 1
    most = _numbers(file, body, at + rank * file.length_size, rank, file.length_size)
    return Extent(shape, tuple(None if size == endless else size for size in most))


def parse_layout(file: Hdf5File, body: bytes) -> Layout:
    """A data layout message of any version.

    Raises:
        FormatError: it is broken.
    """
    version = body[0] if body else 0
    if version in (1, 2):
        return _old_layout(file, body)
    if version not in (3, 4, 5) or len(body) < 4 or body[1] > VIRTUAL:
        raise file.broken("broken data layout", expected="version 1 to 5", found=f"version {version}")
    kind = body[1]
    if kind == COMPACT:
        size = int.from_bytes(body[2:4], "little")
        return Layout(COMPACT, size=size, data=body[4 : 4 + size])
    if kind == CONTIGUOUS:
        address, size = file.offset(body, 2), file.length(body, 2 + file.offset_size)
        return Layout(CONTIGUOUS, _known(file, address), size)
    if kind == VIRTUAL:
        return Layout(VIRTUAL)
    return _chunked(file, body) if version == 3 else _indexed(file, body)


def _known(file: Hdf5File, address: int) -> int | None:
    return None if address == file.undefined else address


def _old_layout(file: Hdf5File, body: bytes) -> Layout:
    """Versions 1 and 2, of HDF5 1.4 and older."""
    rank, kind = body[1], body[2]
    at = 8
    address = None
    if kind != COMPACT:
        address = _known(file, file.offset(body, at))
        at += file.offset_size
    dimensions = _numbers(file, body, at, rank, 4)
    at += 4 * rank
    if kind == CHUNKED:
        return Layout(CHUNKED, address, chunk=dimensions[:-1])
    if kind == CONTIGUOUS:
        return Layout(CONTIGUOUS, address, -1)
    size = int.from_bytes(body[at : at + 4], "little")
    return Layout(COMPACT, size=size, data=body[at + 4 : at + 4 + size])


def _chunked(file: Hdf5File, body: bytes) -> Layout:
    rank = body[2]
    address = _known(file, file.offset(body, 3))
    dimensions = _numbers(file, body, 3 + file.offset_size, rank, 4)
    return Layout(CHUNKED, address, chunk=dimensions[:-1])


def _indexed(file: Hdf5File, body: bytes) -> Layout:
    """Chunks of version 4: HDF5 1.10 and later, when told to use its newest structures."""
    flags, rank, width = body[2], body[3], body[4]
    if not 1 <= width <= 8:
        raise file.broken("broken data layout", expected="dimensions of 1 to 8 bytes", found=width)
    dimensions = _numbers(file, body, 5, rank, width)
    at = 5 + rank * width
    index = body[at] if at < len(body) else 0
    at += 1
    single = None
    if index == SINGLE_INDEX and flags & 2:
        single = (
            file.length(body, at),
            int.from_bytes(body[at + file.length_size : at + file.length_size + 4], "little"),
        )
    at += _INDEX_BYTES.get(index, 0) if index != SINGLE_INDEX else bool(flags & 2) * (file.length_size + 4)
    return Layout(CHUNKED, _known(file, file.offset(body, at)), chunk=dimensions[:-1], index=index, single=single)


def parse_filters(file: Hdf5File, body: bytes) -> tuple[Filter, ...]:
    """The filter pipeline in the order of writing.

    Raises:
        FormatError: it is broken.
    """
    version, count = (body[0], body[1]) if len(body) >= 2 else (0, 0)
    if version not in (1, 2):
        raise file.broken("broken filter pipeline", expected="version 1 or 2", found=f"version {version}")
    at = 8 if version == 1 else 2
    filters = []
    for _ in range(count):
        number = int.from_bytes(body[at : at + 2], "little")
        named = version == 1 or number >= 256
        name = int.from_bytes(body[at + 2 : at + 4], "little") if named else 0
        at += 4 if named else 2
        parameters = int.from_bytes(body[at + 2 : at + 4], "little")
        at += 4 + (-(-name // 8) * 8 if version == 1 else name)
        filters.append(Filter(number, _numbers(file, body, at, parameters, 4)))
        at += 4 * (parameters + (parameters % 2 if version == 1 else 0))
    return tuple(filters)


def parse_fill_value(file: Hdf5File, body: bytes) -> bytes:
    """What stands where nothing was written: one element as the file has it, or nothing for zeros."""
    version = body[0] if len(body) >= 2 else 0
    if version == 3:
        at, defined = 2, body[1] & 0x20
    elif version in (1, 2) and len(body) >= 4:
        at, defined = 4, version == 1 or body[3]
    else:
        raise file.broken("broken fill value", expected="version 1 to 3", found=f"version {version}")
    if not defined:
        return b""
    return parse_old_fill_value(body[at:])


def parse_old_fill_value(body: bytes) -> bytes:
    """The element in a fill value message of the old kind: its size, and it."""
    return body[4 : 4 + int.from_bytes(body[:4], "little")]


def _numbers(file: Hdf5File, body: bytes, at: int, count: int, width: int) -> tuple[int, ...]:
    if at + count * width > len(body):
        raise file.broken("a header message that is cut short", expected=at + count * width, found=len(body))
    return tuple(
        int.from_bytes(body[at + width * index : at + width * (index + 1)], "little") for index in range(count)
    )
