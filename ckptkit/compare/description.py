"""What one tensor holds: statistics, a histogram and a hash, in one streaming pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.compare.tally import Tally, TensorStatistics, tally_pieces
from ckptkit.compare.workspace import READ_ELEMENTS, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckptkit.model import TensorSource, TensorSpec


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of one pass over a tensor: what was asked for, None for what was not.

    Attributes:
        statistics: None for strings too.
        sha256: hexadecimal, over little-endian bytes in C order; for strings over their bytes one after the other.
    """

    statistics: TensorStatistics | None
    sha256: str | None


def examine(
    source: TensorSource,
    spec: TensorSpec,
    *,
    statistics: bool = True,
    sha256: bool = False,
    work: Workspace | None = None,
    progress: Callable[[int], None] | None = None,
) -> Examination:
    """Statistics and hash of one tensor, as asked for, in one pass with its checksum verified.

    Args:
        source: where the bytes are.
        spec: what they are; its name is the source's own key.
        statistics: whether to measure the values.
        sha256: whether to take the SHA-256.
        work: the calling thread's buffers; made when not given.
        progress: told the bytes done, as they are done.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum.
    """
    hashed = hashlib.sha256()
    if spec.dtype == "string":
        for element in source.read_strings(spec.name) if sha256 else ():
            hashed.update(element)
        return Examination(None, hashed.hexdigest() if sha256 else None)
    work = work or Workspace()
    buffer = work.raw_a
    if statistics:  # no more than stays in the cache until it is looked at
        buffer = buffer[: READ_ELEMENTS * dtypes.itemsize(spec.dtype)]
    stream = source.stream(spec.name, buffer)
    if sha256:
        stream = _passing(stream, hashed)
    if not statistics:
        for piece in stream:
            if progress is not None:
                progress(len(piece))
        return Examination(None, hashed.hexdigest() if sha256 else None)
    tally = Tally()
    tally_pieces(tally, stream, spec.dtype, work, progress)
    return Examination(tally.statistics(), hashed.hexdigest() if sha256 else None)


def _passing(stream: Iterator[memoryview], hashed: hashlib._Hash) -> Iterator[memoryview]:
    for piece in stream:
        hashed.update(piece)
        yield piece
