"""Whatever the cut, what is merged is the same object: statistics, examinations, fingerprints, checksums."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import dtypes, formats
from ckptkit.compare import (
    Range,
    Tensor,
    Tolerance,
    Workspace,
    compare_range,
    compare_tensors,
    cut,
    examine,
    examine_range,
    fingerprint,
    fingerprint_range,
    join_compared,
    join_examined,
    join_printed,
)
from ckptkit.compare.ranges import cut_elements
from ckptkit.compare.workspace import BLOCK_ELEMENTS
from ckptkit.errors import ChecksumError
from ckptkit.model import Contents, StoredTensor, TensorSpec
from ckptkit.model.ranges import ranged
from ckptkit.storage import crc
from tests.compare.memory_source import MemorySource
from tests.formats.writing import write_new

WORK = Workspace()
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool", "complex64", "complex128"]


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_checksums_of_pieces_make_that_of_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert crc.joined([(crc32c(piece), len(piece)) for piece in pieces], crc.CRC32C) == crc32c(whole)
    assert crc.joined([(zlib.crc32(piece), len(piece)) for piece in pieces], crc.CRC32) == zlib.crc32(whole)


@given(st.integers(0, 3_000_000_000), st.integers(1, 32), st.integers(1, 1 << 32))
def test_a_cut_is_on_the_grid_and_covers_all(count: int, width: int, grain: int) -> None:
    grain = max(grain, count * width // 500)
    ranges = cut_elements(count, width, grain)
    assert [one.stop for one in ranges[:-1]] == [other.start for other in ranges[1:]]
    assert all(part.start % BLOCK_ELEMENTS == 0 for part in ranges)
    assert all((part.stop - part.start) * width <= max(grain, BLOCK_ELEMENTS * width) for part in ranges)
    assert (ranges[0].start, ranges[-1].stop) == (0, count) if count else ranges == []


def values(dtype: str, count: int, seed: int) -> np.ndarray:
    """Numbers of every kind that the dtype has, not-a-number and infinities among them, in a few of the blocks only."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal(count) * 10.0 ** rng.integers(-8, 8)
    if dtype.startswith(("float", "bfloat", "complex")) and seed % 2:
        raw[rng.integers(0, count, 5)] = [np.nan, np.inf, -np.inf, -0.0, 0.0]
    elif not dtype.startswith(("float", "bfloat", "complex")):
        raw = np.abs(raw) / np.abs(raw).max() * {"int64": 2.0**62, "uint8": 250, "bool": 2}[dtype] // 1
    with np.errstate(all="ignore"):
        made = raw.astype(dtypes.numpy_dtype(dtype))
        return made + 1j * made[::-1] if dtype.startswith("complex") else made


def stored(folder: Path, value: np.ndarray, dtype: str) -> Tensor:
    """The value in a bundle, whose checksums the ranges have to come to."""
    spec = TensorSpec("x", value.shape, dtype)
    contents = Contents("tensor-bundle", None, (StoredTensor("x", spec.shape, dtype, spec.nbytes),))
    write_new("tensor-bundle", folder / "ckpt", contents, MemorySource({"x": value}))
    return Tensor(formats.open_contents(str(folder / "ckpt"))[1], spec)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_cut_gives_the_same(tmp_path: Path, dtype: str) -> None:
    count = 2 * BLOCK_ELEMENTS + 12_345
    one = values(dtype, count, 1)
    other = one.copy()
    changed = slice(BLOCK_ELEMENTS - 3, BLOCK_ELEMENTS + 3)
    other[changed] = ~one[changed] if dtype == "bool" else values(dtype, 6, 2)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    a, b = stored(tmp_path / "a", one, dtype), stored(tmp_path / "b", other, dtype)
    tolerance = Tolerance(1e-6, 1e-3)
    whole = compare_tensors(*a, *b, tolerance, WORK)
    examined, printed = examine(*a), fingerprint(*a)
    assert not whole.statistics.identical
    for blocks in (1, 2, 3):
        ranges = [
            Range(start * BLOCK_ELEMENTS, min((start + blocks) * BLOCK_ELEMENTS, count))
            for start in range(0, 3, blocks)
        ]
        assert join_compared(a, b, [compare_range(a, b, part, tolerance, WORK) for part in ranges]) == whole
        assert join_examined(a, [examine_range(a, part, WORK) for part in ranges]) == examined
        assert join_printed(a, [fingerprint_range(a, part, WORK) for part in ranges]) == printed
    a.source.close()
    b.source.close()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 32), blocks=st.lists(st.integers(1, 3), min_size=1, max_size=3), rest=st.integers(1, 999)
)
def test_any_values_give_the_same(seed: int, blocks: list[int], rest: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(sum(blocks)):  # blocks of very different ranges, constant ones among them
        scale = 10.0 ** rng.integers(-300, 300)
        parts.append(np.full(BLOCK_ELEMENTS, scale) if number % 2 else rng.standard_normal(BLOCK_ELEMENTS) * scale)
    value = np.concatenate([*parts, rng.standard_normal(rest)])
    source = RangedMemory({"x": value})
    tensor = Tensor(source, TensorSpec("x", value.shape, "float64"))
    edges = np.cumsum([0, *blocks]) * BLOCK_ELEMENTS
    ranges = [Range(int(one), int(other)) for one, other in itertools.pairwise(edges)]
    ranges.append(Range(int(edges[-1]), len(value)))
    assert join_examined(tensor, [examine_range(tensor, part, WORK) for part in ranges]) == examine(*tensor)
    assert join_printed(tensor, [fingerprint_range(tensor, part, WORK) for part in ranges]) == fingerprint(*tensor)


class RangedMemory(MemorySource):
    """Arrays that may be read by ranges; no checksums."""

    def can_cut(self, key: str) -> bool:
        return True

    def stream_range(self, key, start, stop, buffer, sums):  # type: ignore[no-untyped-def]
        for at in range(start, stop, len(buffer)):
            piece = buffer[: min(len(buffer), stop - at)]
            self.read_into(key, at, piece)
            yield piece

    def verify_ranges(self, key, sums) -> None:  # type: ignore[no-untyped-def]
        pass


@pytest.mark.parametrize("case", ["bundle", "partitioned", "npz", "h5", "safetensors"])
def test_every_format_verifies_ranges_as_it_verifies_the_whole(tmp_path: Path, fixtures: Path, case: str) -> None:
    value = np.random.default_rng(3).standard_normal((7, 60_000)).astype(np.float32)
    key = "x"
    if case in ("bundle", "partitioned"):
        import tensorflow as tf

        slices = ["7 60000 0,4:-", "7 60000 4,3:-"] if case == "partitioned" else [""]
        tensors = [value[:4], value[4:]] if case == "partitioned" else [value]
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "m"), tensor_names=["x"] * len(slices), shape_and_slices=slices, tensors=tensors
        )
        path, file = tmp_path / "m", tmp_path / "m.data-00000-of-00001"
    elif case == "npz":
        path = file = tmp_path / "m.npz"
        np.savez(path, x=value)
    elif case == "h5":
        import h5py

        path = file = tmp_path / "m.h5"
        with h5py.File(path, "w") as written:
            written["x"] = value
    else:
        from safetensors.numpy import save_file

        path = file = tmp_path / "m.safetensors"
        save_file({"x": value}, path)
    _, source = formats.open_contents(str(path))
    found = ranged(source, key)
    assert found is not None
    assert join(found, value) == value.tobytes()
    source.close()
    with file.open("r+b") as damaged:
        damaged.seek(file.stat().st_size // 2)
        damaged.write(b"\xff\x00\xff\x00")
    _, source = formats.open_contents(str(path))
    found = ranged(source, key)
    if case in ("h5", "safetensors"):  # no checksums there
        join(found, value)
    else:
        with pytest.raises(ChecksumError, match="does not match its checksum"):
            join(found, value)
    source.close()


def join(found, value: np.ndarray) -> bytes:  # type: ignore[no-untyped-def]
    """The value read in three ranges, verified over them."""
    source, key = found
    buffer, read, sums = memoryview(bytearray(100_000)), bytearray(), []
    for start, stop in ((0, 400_000), (400_000, 400_004), (400_004, value.nbytes)):
        found_sums: list[tuple[int, int]] = []
        for piece in source.stream_range(key, start, stop, buffer, found_sums):
            read += piece
        sums.append(found_sums)
    source.verify_ranges(key, sums)
    return bytes(read)


def test_what_is_packed_or_computed_is_not_cut(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((100, 100)), chunks=(10, 10), compression="gzip")
    _, source = formats.open_contents(str(tmp_path / "m.h5"))
    assert ranged(source, "x") is None
    assert cut([Tensor(source, TensorSpec("x", (100, 100), "float64"))], 1) == []
    source.close()
