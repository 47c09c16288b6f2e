"""Comparing through sources: however the streams are cut, with strings, and with bytes that cannot be trusted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptkit.compare import Comparison, Tolerance, Workspace, compare_arrays, compare_tensors, examine, fingerprint
from ckptkit.compare.streaming import aligned, whole_elements
from ckptkit.errors import ChecksumError, FormatError
from ckptkit.model import TensorSpec
from tests.compare.memory_source import MemorySource, compare_in_memory


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["float32", "float16", "int64"]))
def test_streams_may_be_cut_anywhere(cut_a: int, cut_b: int, dtype: str) -> None:
    a = np.arange(17, dtype=np.float32)
    b = np.arange(17)[::-1].astype(dtype)
    found, wanted = compare_in_memory(a, b, Tolerance(), cut_a, cut_b), compare_arrays(a, b, Tolerance())
    assert found == wanted


@given(st.lists(st.binary(max_size=9), max_size=8), st.sampled_from([1, 2, 4, 8, 16]))
def test_pieces_are_made_of_whole_elements_without_loss(pieces: list[bytes], itemsize: int) -> None:
    found = [bytes(view) for view in whole_elements((memoryview(piece) for piece in pieces), itemsize)]
    data = b"".join(pieces)
    assert b"".join(found) == data[: len(data) // itemsize * itemsize]
    assert all(view and len(view) % itemsize == 0 for view in found)


def test_aligned_streams_are_both_followed_to_their_end() -> None:
    ended = []

    def stream(name: str, pieces: list[bytes]) -> Iterator[memoryview]:
        yield from map(memoryview, pieces)
        ended.append(name)

    got = list(aligned(stream("a", [b"abcd", b"ef"]), 1, stream("b", [b"aabbcc", b"ddeeff"]), 2))
    assert [(bytes(a), bytes(b)) for a, b in got] == [(b"abc", b"aabbcc"), (b"d", b"dd"), (b"ef", b"eeff")]
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("size", [0, 5])
def test_a_checksum_that_fails_at_the_end_raises(side: str, size: int) -> None:
    values = {"t": np.ones(size, np.float32)}
    good, bad = MemorySource(values), MemorySource(values, damaged=("t",))
    a, b = (bad, good) if side == "a" else (good, bad)
    spec = good.spec("t")
    with pytest.raises(ChecksumError):
        compare_tensors(a, spec, b, spec, Tolerance())
    with pytest.raises(ChecksumError):
        fingerprint(bad, spec)
    with pytest.raises(ChecksumError):
        examine(bad, spec, statistics=True, sha256=True)


def test_a_source_that_gives_too_little_is_no_equality() -> None:
    source = MemorySource({"t": np.ones(4, np.float32)})
    with pytest.raises(FormatError, match="expected 6, found 4"):
        compare_tensors(source, TensorSpec("t", (6,), "float32"), source, TensorSpec("t", (6,), "float32"), Tolerance())


def test_strings_are_compared_element_by_element() -> None:
    a = np.array([b"one", b"", b"three"], dtype=object)
    b = np.array([b"one", b"two", b"three"], dtype=object)
    found = compare_in_memory(a, b, Tolerance())
    assert (found.status, found.statistics.mismatched, found.statistics.count) == ("different", 1, 3)
    assert compare_in_memory(a, a, Tolerance()).status == "identical"


def test_strings_against_numbers_are_all_mismatched() -> None:
    found = compare_in_memory(np.array([b"1"], dtype=object), np.array([1.0]), Tolerance())
    assert (found.status, found.statistics.mismatched) == ("dtype", 1)


def test_other_shapes_are_not_read() -> None:
    source = MemorySource({"t": np.ones(4), "u": np.ones((2, 2))})
    found = compare_tensors(source, source.spec("t"), source, source.spec("u"), Tolerance())
    assert found == Comparison("shape", None)
    assert source.streamed == []


@pytest.mark.parametrize("name", ["int4", "uint4", "float8_e4m3b11fnuz", "float8_e8m0fnu", "float4_e2m1fn"])
def test_small_types_of_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    if not hasattr(ml_dtypes, name):
        pytest.skip("came with ml_dtypes 0.5")
    a = np.array([1, 2, 1, 4], np.float32).astype(getattr(ml_dtypes, name))
    b = np.array([1, 2, 2, 4], np.float32).astype(getattr(ml_dtypes, name))
    found = compare_in_memory(a, b, Tolerance())
    distance = abs(float(a[2]) - float(b[2]))
    assert (found.status, found.statistics.max_at, found.statistics.max_abs) == ("different", 2, distance)


def test_progress_adds_up_to_the_bytes_of_both_sides() -> None:
    a, b = MemorySource({"t": np.ones(3000)}, 700), MemorySource({"t": np.ones(3000)}, 900)
    told: list[int] = []
    compare_tensors(a, a.spec("t"), b, b.spec("t"), Tolerance(), Workspace(), told.append)
    assert sum(told) == 2 * 3000 * 8


def test_memory_does_not_grow_with_the_tensor() -> None:
    class Zeros:
        """A tensor of any size that takes no memory."""

        def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
            left = 512 << 20
            while left:
                yield buffer[: min(left, len(buffer))]
                left -= min(left, len(buffer))

    spec = TensorSpec("t", (128 << 20,), "float32")
    tracemalloc.start()
    try:
        assert compare_tensors(Zeros(), spec, Zeros(), spec, Tolerance()).status == "identical"
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
