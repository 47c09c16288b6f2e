"""Chunks of an HDF5 dataset: which ones a piece of a tensor needs, and how one is unpacked (IV.A.2.l)."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

from ckptkit.errors import ChecksumError, FormatError

if TYPE_CHECKING:
    from ckptkit.formats.hdf5.dataset import Dataset

# Deflate makes incompressible data longer, by 5 bytes in each block of 16 KiB and a header (RFC 1951, 3.2.4).
_SLACK_BYTES = 1024

# The last is h5py's (registered with The HDF Group; h5py/lzf/lzf_filter.c).
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
READABLE_FILTERS = {DEFLATE, SHUFFLE, FLETCHER32, LZF}


def chunk_nbytes(dataset: Dataset) -> int:
    """Bytes of one chunk when it is unpacked."""
    return math.prod(dataset.layout.chunk or ()) * dataset.type.itemsize


def grid_shape(dataset: Dataset) -> tuple[int, ...]:
    """How many chunks the dataset is cut into along every axis, stored or not."""
    return tuple(-(-size // step) for size, step in zip(dataset.shape, dataset.layout.chunk or (), strict=True))


def parse_chunk(dataset: Dataset, packed: bytes, skipped: int) -> bytes:
    """The elements of one chunk from its stored bytes.

    Args:
        dataset: whose chunk it is.
        packed: as it lies in the file.
        skipped: bit i is set when filter i was not applied to this chunk.

    Raises:
        ChecksumError: its Fletcher checksum is not that of its bytes.
        FormatError: it does not unpack to exactly the bytes of a chunk.
    """
    wanted = chunk_nbytes(dataset)
    data = packed
    for index in reversed(range(len(dataset.filters))):
        step = dataset.filters[index]
        if skipped >> index & 1:
            continue
        if step.number == DEFLATE:
            data = _inflated(data, wanted + wanted // 1000 + _SLACK_BYTES, dataset.key)
        elif step.number == LZF:
            data = unpack_lzf(data, wanted + wanted // 1000 + _SLACK_BYTES, dataset.key)
        elif step.number == FLETCHER32:
            data = _checked(data, dataset.key)
        elif step.number == SHUFFLE:
            data = _unshuffled(data, step.parameters[0] if step.parameters else dataset.type.itemsize)
    if len(data) != wanted:
        raise FormatError("a chunk of the wrong size", key=dataset.key, expected=f"{wanted} bytes", found=len(data))
    return data


def _inflated(packed: bytes, limit: int, key: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, limit)
    except zlib.error as error:
        raise FormatError(f"a chunk cannot be inflated ({error})", key=key) from error
    if not inflater.eof:
        raise FormatError("a chunk does not inflate to its size", key=key, expected=f"at most {limit} bytes")
    return data


def unpack_lzf(packed: bytes, limit: int, key: str) -> bytes:
    """What LZF bytes unpack to: runs of at most 32 bytes, and copies of what came up to 8 KiB before (liblzf, lzf_d.c).

    Raises:
        FormatError: they end inside a token, refer to before the beginning, or unpack to more than `limit` bytes.
    """
    data = bytearray()
    at, end = 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            at += 1
            if control < 32:
                data += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[at]
                at += 1
            begin = len(data) - ((control & 31) << 8) - packed[at] - 1
            at += 1
            length += 2
            if begin < 0:
                raise IndexError
            piece = data[begin : begin + length]
            while len(piece) < length:  # it copies what it is about to write
                piece += piece[: length - len(piece)]
            data += piece
            if len(data) > limit:
                break
    except IndexError:
        at = end + 1
    if at > end or len(data) > limit:
        raise FormatError("a chunk cannot be unpacked (LZF)", key=key, expected=f"at most {limit} bytes")
    return bytes(data)


def _unshuffled(data: bytes, itemsize: int) -> bytes:
    """Undo HDF5's shuffle: first the first bytes of all elements, then the second ones …; a rest is left as it is."""
    count = len(data) // itemsize if itemsize else 0
    if itemsize <= 1 or count <= 1:
        return data
    import numpy as np

    whole = count * itemsize
    planes = np.frombuffer(data[:whole], np.uint8).reshape(itemsize, count)
    return bytes(planes.T.tobytes()) + data[whole:]


def _checked(data: bytes, key: str) -> bytes:
    body, stored = data[:-4], int.from_bytes(data[-4:], "little")
    found = fletcher32(body)
    # HDF5 1.6.2 and older stored the bytes of each half swapped; the library takes both (H5Zfletcher32.c).
    swapped = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
    if len(data) < 4 or stored not in (found, swapped):
        raise ChecksumError(
            "the checksum of a chunk does not match", key=key, expected=f"{stored:08x}", found=f"{found:08x}"
        )
    return body


def fletcher32(data: bytes) -> int:
    """HDF5's Fletcher checksum: two sums modulo 65535 over big-endian 16-bit words (H5checksum.c)."""
    import numpy as np

    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(65535)
    return _folded(int((words * weights).sum())) << 16 | _folded(int(words.sum()))


def _folded(total: int) -> int:
    """`total` modulo 65535 as repeated end-around carry gives it: 65535 where the remainder of a positive one is 0."""
    return total and (total - 1) % 65535 + 1
