"""The bytes of a `.npy` array as ckptkit hands them over: little-endian and in C order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import LimitError
from ckptkit.model import CHUNK_BYTES
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from ckptkit.formats.npz.header import Header

# A Fortran-ordered array is turned in slabs of this size, each with one pass over the file.
_SLAB_BYTES = 32 << 20


def is_plain(header: Header) -> bool:
    """Whether the stored bytes are already those that are handed over."""
    swapped = header.big_endian and header.kind == "number" and header.itemsize > 1
    return not swapped and not _turned(header)


def canonical_pieces(header: Header, data: Storage) -> Iterator[bytes]:
    """All bytes in C order, little-endian for numbers; text keeps its byte order.

    Args:
        header: of the array; `header.nbytes` bytes are in `data`.
        data: the array's bytes as stored.

    Raises:
        LimitError: in Fortran order, with one row of the first axis beyond what is held in memory.
    """
    pieces = _slabs(header, data) if _turned(header) else _pieces(header, data)
    swap = header.big_endian and header.kind == "number"
    for piece in pieces:
        yield (piece.byteswap() if swap else piece).tobytes()


def _turned(header: Header) -> bool:
    return header.fortran and sum(size != 1 for size in header.shape) > 1 and math.prod(header.shape) > 0


def _item(header: Header) -> np.dtype:
    import numpy as np

    return dtypes.numpy_dtype(header.dtype) if header.kind == "number" else np.dtype(f"V{header.itemsize}")


def _pieces(header: Header, data: Storage) -> Iterator[np.ndarray]:
    import numpy as np

    unit = max(1, CHUNK_BYTES // max(1, header.itemsize)) * header.itemsize
    for at in range(0, header.nbytes, unit) if unit else ():
        yield np.frombuffer(read(data, at, min(unit, header.nbytes - at)), dtype=_item(header))


def _slabs(header: Header, data: Storage) -> Iterator[np.ndarray]:
    """Slabs of the array along its first axis, which is the one that moves fastest in the file."""
    import numpy as np

    item = _item(header)
    rows, rest = header.shape[0], math.prod(header.shape[1:])
    if rest * item.itemsize > _SLAB_BYTES:
        raise LimitError(
            "an array in Fortran order whose rows are too long to be turned in memory",
            path=data.name,
            expected=f"at most {_SLAB_BYTES} bytes in a row",
            found=rest * item.itemsize,
            hint="Save it again with numpy.ascontiguousarray",
        )
    taken = _SLAB_BYTES // (rest * item.itemsize)
    for first in range(0, rows, taken):
        count = min(taken, rows - first)
        slab = np.empty((rest, count), dtype=item)
        for at, block in _columns(data, item, rows, rest, first, count):
            slab[at : at + len(block)] = block
        yield slab.reshape((*header.shape[:0:-1], count)).transpose()


def _columns(
    data: Storage, item: np.dtype, rows: int, rest: int, first: int, count: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Elements `first` to `first + count` of each of the file's `rest` runs of `rows`, in blocks of runs."""
    import numpy as np

    run = rows * item.itemsize
    together = CHUNK_BYTES // run
    if together == 0:  # a run is longer than what is read at once: read only the part that is wanted
        for number in range(rest):
            raw = read(data, number * run + first * item.itemsize, count * item.itemsize)
            yield number, np.frombuffer(raw, dtype=item).reshape(1, count)
        return
    for number in range(0, rest, together):
        runs = min(together, rest - number)
        block = np.frombuffer(read(data, number * run, runs * run), dtype=item).reshape(runs, rows)
        yield number, block[:, first : first + count]
