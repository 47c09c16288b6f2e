"""Comparing two tensors piece by piece, in memory that does not grow with them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ckptkit import dtypes
from ckptkit.compare.blocks import compare_piece, equal_piece, small_dtype
from ckptkit.compare.running import Running
from ckptkit.compare.small import SMALL_ELEMENTS, many_statistics
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.workspace import PIECE_ELEMENTS, READ_ELEMENTS, Workspace
from ckptkit.errors import FormatError
from ckptkit.model import TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ckptkit.compare.tolerance import Tolerance

_EARLY = 64
"""Elements that are looked at first."""

_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}

Status = Literal["identical", "within", "different", "shape", "dtype"]


class Tensor(NamedTuple):
    """A tensor and where its bytes are; the name in `spec` is the source's own key."""

    source: TensorSource
    spec: TensorSpec


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
    step = READ_ELEMENTS
    stream_a = source_a.stream(spec_a.name, work.raw_a[: step * sizes[0]])
    stream_b = source_b.stream(spec_b.name, work.raw_b[: step * sizes[1]])
    return compare_streams(stream_a, spec_a, stream_b, spec_b, tolerance, work, progress)


def compare_many(
    pairs: Sequence[tuple[Tensor, Tensor]],
    tolerance: Tolerance,
    work: Workspace,
    progress: Callable[[int], None] | None = None,
) -> list[Comparison]:
    """As `compare_tensors`, for many tensors and their references: small ones of one dtype together.

    What is together for one pair of dtypes is at most `BLOCK_ELEMENTS` elements, which the caller sees to.
    """
    found: dict[int, Comparison] = {}
    together: dict[tuple[str, str], list[int]] = {}
    for number, (one, other) in enumerate(pairs):
        dtypes_of = one.spec.dtype, other.spec.dtype
        if one.spec.shape == other.spec.shape and _together(*dtypes_of) and 0 < one.spec.size <= SMALL_ELEMENTS:
            together.setdefault(dtypes_of, []).append(number)
        else:
            found[number] = compare_tensors(*one, *other, tolerance, work, progress)
    for numbers in together.values():
        chosen = [pairs[number] for number in numbers]
        for number, (one, other), statistics in zip(numbers, chosen, _small(chosen, tolerance, work), strict=True):
            found[number] = comparison_of(statistics, one.spec, other.spec)
        if progress is not None:
            progress(sum([one.spec.nbytes + other.spec.nbytes for one, other in chosen]))
    return [found[number] for number in range(len(pairs))]


def _small(pairs: Sequence[tuple[Tensor, Tensor]], tolerance: Tolerance, work: Workspace) -> Iterator[Statistics]:
    """Statistics of small tensors of one dtype and of their references."""
    raw_a = [b"".join(map(bytes, source.stream(spec.name, work.raw_a))) for (source, spec), _ in pairs]
    raw_b = [b"".join(map(bytes, source.stream(spec.name, work.raw_b))) for _, (source, spec) in pairs]
    a = np.frombuffer(b"".join(raw_a), dtypes.numpy_dtype(pairs[0][0].spec.dtype))
    b = np.frombuffer(b"".join(raw_b), dtypes.numpy_dtype(pairs[0][1].spec.dtype))
    sizes = [reference.spec.size for _, reference in pairs]
    same_dtype = pairs[0][0].spec.dtype == pairs[0][1].spec.dtype
    at = 0
    with np.errstate(all="ignore"):
        measured = many_statistics(a, b, sizes, tolerance)
        for size, one, other, statistics in zip(sizes, raw_a, raw_b, measured, strict=True):
            if statistics is None or (same_dtype and one == other):
                seen = Running()
                _take(a[at : at + size], b[at : at + size], 0, same_dtype, tolerance, work, seen)
                yield seen.statistics()
            else:
                yield statistics
            at += size


@functools.cache
def _together(dtype_a: str, dtype_b: str) -> bool:
    return "string" not in (dtype_a, dtype_b) and all(
        small_dtype(dtypes.numpy_dtype(dtype)) for dtype in (dtype_a, dtype_b)
    )


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
    seen = Running()
    done = 0
    with np.errstate(all="ignore"):
        for piece_a, piece_b in aligned(stream_a, dtype_a.itemsize, stream_b, dtype_b.itemsize):
            a, b = np.frombuffer(piece_a, dtype_a), np.frombuffer(piece_b, dtype_b)
            _take(a, b, first + done, same_dtype, tolerance, work, seen)
            done += len(a)
            if progress is not None:
                progress(len(piece_a) + len(piece_b))
    if done != count:  # a source that keeps its word never comes here
        raise FormatError("fewer elements than declared", key=spec_b.name, expected=count, found=done)
    return seen.statistics()


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
    seen = Running()
    with np.errstate(all="ignore"):
        _take(flat_a, flat_b, 0, same_dtype, tolerance, work, seen)
    found = seen.statistics()
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


def _take(
    a: np.ndarray, b: np.ndarray, first: int, same_dtype: bool, tolerance: Tolerance, work: Workspace, seen: Running
) -> None:
    """Take what lies from element `first` of two tensors on into `seen`, in pieces of the grid."""
    for start in range(0, len(a), PIECE_ELEMENTS):
        one, other = a[start : start + PIECE_ELEMENTS], b[start : start + PIECE_ELEMENTS]
        if same_dtype and equal_bits(one, other, work.mask):
            equal_piece(other, work, seen)
        else:
            compare_piece(one, other, first + start, tolerance, work, seen)


def equal_bits(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> bool:
    """Whether two contiguous arrays `[n]` of one dtype have the same bytes.

    Args:
        a: one array.
        b: the other.
        mask: room for a bool for each element, and for two where they have 16 bytes.
    """
    # What differs does so early, as a rule, and is then not gone through twice.
    if a[:_EARLY].tobytes() != b[:_EARLY].tobytes():
        return False
    word = _WORDS[math.gcd(a.nbytes, 8)]
    x, y = a.view(word), b.view(word)
    return bool(np.equal(x, y, out=mask[: len(x)]).all())


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
