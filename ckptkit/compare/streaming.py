"""Comparing two tensors piece by piece, in memory that does not grow with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ckptkit import dtypes
from ckptkit.compare.blocks import compare_block, equal_block
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.workspace import BLOCK_ELEMENTS, Workspace
from ckptkit.errors import FormatError
from ckptkit.model import CHUNK_BYTES, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckptkit.compare.tolerance import Tolerance

_EARLY = 256  # words of up to 8 bytes

Status = Literal["identical", "within", "different", "shape", "dtype"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a tensor with its reference.

    Attributes:
        status: `identical` (equal bits), `within` (the tolerance), `different`, `shape` (not compared any further), or
            `dtype` (compared by value; `statistics.mismatched` tells how that went).
        statistics: None where the shapes differ. For strings only `count`, `identical` and `mismatched` say anything.
    """

    status: Status
    statistics: Statistics | None


def compare_tensors(
    source_a: TensorSource,
    spec_a: TensorSpec,
    source_b: TensorSource,
    spec_b: TensorSpec,
    tolerance: Tolerance,
    work: Workspace | None = None,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare tensor a with its reference b in one pass over each, with verified checksums.

    Values of different dtypes are compared as float64, which holds those of every dtype up to 32 bits exactly; 64-bit
    integers are subtracted as integers. A number and a string have no common dtype: every element is mismatched.

    Args:
        source_a: where the bytes of a are.
        spec_a: what they are; its name is the source's own key.
        source_b: where those of b are.
        spec_b: what they are, likewise.
        tolerance: what counts as mismatched; b is the reference.
        work: the calling thread's buffers; made when not given.
        progress: told the bytes done, of both sides together, as they are done.

    Raises:
        CkptkitError: bytes are missing, cut short or do not match their checksum; nothing is concluded then.
    """
    if spec_a.shape != spec_b.shape:
        return Comparison("shape", None)
    if "string" in (spec_a.dtype, spec_b.dtype):
        found = _compare_strings(source_a, spec_a, source_b, spec_b)
        return Comparison(_status(found) if spec_a.dtype == spec_b.dtype else "dtype", found)
    work = work or Workspace()
    sizes = dtypes.itemsize(spec_a.dtype), dtypes.itemsize(spec_b.dtype)
    step = CHUNK_BYTES // max(sizes)
    stream_a = source_a.stream(spec_a.name, work.raw_a[: step * sizes[0]])
    stream_b = source_b.stream(spec_b.name, work.raw_b[: step * sizes[1]])
    return compare_streams(stream_a, spec_a, stream_b, spec_b, tolerance, work, progress)


def compare_streams(
    stream_a: Iterator[memoryview],
    spec_a: TensorSpec,
    stream_b: Iterator[memoryview],
    spec_b: TensorSpec,
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """As `compare_tensors`, for the bytes of two tensors of numbers and of one shape, cut in any way."""
    found = stream_statistics(stream_a, spec_a, stream_b, spec_b, tolerance, work, progress, 0, spec_b.size)
    return comparison_of(found, spec_a, spec_b)


def stream_statistics(
    stream_a: Iterator[memoryview],
    spec_a: TensorSpec,
    stream_b: Iterator[memoryview],
    spec_b: TensorSpec,
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None,
    first: int,
    count: int,
) -> Statistics:
    """Statistics of `count` elements of two tensors, from element `first` on, which the streams give."""
    dtype_a, dtype_b = dtypes.numpy_dtype(spec_a.dtype), dtypes.numpy_dtype(spec_b.dtype)
    same_dtype = spec_a.dtype == spec_b.dtype
    found = Statistics()
    done = 0
    with np.errstate(all="ignore"):
        for piece_a, piece_b in aligned(stream_a, dtype_a.itemsize, stream_b, dtype_b.itemsize):
            a, b = np.frombuffer(piece_a, dtype_a), np.frombuffer(piece_b, dtype_b)
            for start in range(0, len(a), BLOCK_ELEMENTS):
                part = slice(start, start + BLOCK_ELEMENTS)
                found += _block(a[part], b[part], first + done + start, same_dtype, tolerance, work)
            done += len(a)
            if progress is not None:
                progress(len(piece_a) + len(piece_b))
    if done != count:  # a source that keeps its word never comes here
        raise FormatError("fewer elements than declared", key=spec_b.name, expected=count, found=done)
    return found


def comparison_of(found: Statistics, spec_a: TensorSpec, spec_b: TensorSpec) -> Comparison:
    """What `found`, over all elements of two tensors, says of them."""
    return Comparison(_status(found) if spec_a.dtype == spec_b.dtype else "dtype", found)


def compare_arrays(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> Comparison:
    """As `compare_tensors`, for arrays of numbers in memory."""
    if a.shape != b.shape:
        return Comparison("shape", None)
    same_dtype = a.dtype == b.dtype
    flat_a, flat_b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    work = Workspace()
    found = Statistics()
    with np.errstate(all="ignore"):
        for first in range(0, flat_a.size, BLOCK_ELEMENTS):
            part = slice(first, first + BLOCK_ELEMENTS)
            found += _block(flat_a[part], flat_b[part], first, same_dtype, tolerance, work)
    return Comparison(_status(found) if same_dtype else "dtype", found)


def _status(found: Statistics) -> Status:
    if found.identical:
        return "identical"
    return "different" if found.mismatched else "within"


def _compare_strings(
    source_a: TensorSource, spec_a: TensorSpec, source_b: TensorSource, spec_b: TensorSpec
) -> Statistics:
    if spec_a.dtype != spec_b.dtype:
        count = spec_a.size
        return Statistics(count=count, identical=not count, mismatched=count)
    a, b = source_a.read_strings(spec_a.name), source_b.read_strings(spec_b.name)
    unequal = sum(one != other for one, other in zip(a, b, strict=True))
    return Statistics(count=len(a), identical=not unequal, mismatched=unequal)


def _block(
    a: np.ndarray, b: np.ndarray, first: int, same_dtype: bool, tolerance: Tolerance, work: Workspace
) -> Statistics:
    if same_dtype and equal_bits(a, b, work.mask):
        return equal_block(b, work)
    return compare_block(a, b, first, tolerance, work)


def equal_bits(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> bool:
    """Whether two contiguous arrays `[n]` of one dtype have the same bytes.

    Args:
        a: one array.
        b: the other.
        mask: room for a bool for each element, and for two where they have 16 bytes.
    """
    word = f"u{math.gcd(a.nbytes, 8)}"
    x, y = a.view(word), b.view(word)
    # What differs does so early, as a rule, and is then not gone through twice.
    return np.array_equal(x[:_EARLY], y[:_EARLY]) and bool(np.equal(x, y, out=mask[: len(x)]).all())


def whole_elements(stream: Iterator[memoryview], itemsize: int) -> Iterator[memoryview]:
    """The bytes of `stream` in pieces of whole elements; one that was cut in two comes alone."""
    rest = b""
    for piece in stream:
        view = piece
        if rest:
            missing = itemsize - len(rest)
            rest += bytes(view[:missing])
            view = view[missing:]
            if len(rest) < itemsize:
                continue
            yield memoryview(rest)
        cut = len(view) % itemsize
        if len(view) > cut:
            yield view[: len(view) - cut]
        rest = bytes(view[len(view) - cut :])


def aligned(
    stream_a: Iterator[memoryview], itemsize_a: int, stream_b: Iterator[memoryview], itemsize_b: int
) -> Iterator[tuple[memoryview, memoryview]]:
    """Pieces of two streams that hold the same elements, however each of them is cut.

    Both streams are followed to their end, where their checksums are verified.
    """
    pieces_a, pieces_b = whole_elements(stream_a, itemsize_a), whole_elements(stream_b, itemsize_b)
    nothing = memoryview(b"")
    a, b = next(pieces_a, nothing), next(pieces_b, nothing)
    while len(a) and len(b):
        count = min(len(a) // itemsize_a, len(b) // itemsize_b)
        yield a[: count * itemsize_a], b[: count * itemsize_b]
        a, b = a[count * itemsize_a :], b[count * itemsize_b :]
        a = a if len(a) else next(pieces_a, nothing)
        b = b if len(b) else next(pieces_b, nothing)
