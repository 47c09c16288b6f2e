"""Chunks wherever HDF5 keeps them, against h5py: every index of 1.10 and later, grown and shrunk, sparse and paged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.errors import CkptkitError, FormatError
from ckptkit.formats.hdf5 import messages
from ckptkit.formats.hdf5.chunks import unpack_lzf
from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.tree import read_tree
from ckptkit.formats.keras.reader import open_hdf5
from ckptkit.storage.address import address
from tests.formats.reading import read_value

FILTERS: dict[str, dict[str, object]] = {
    "plain": {},
    "gzip": {"compression": "gzip"},
    "lzf": {"compression": "lzf"},
    "all": {"compression": "gzip", "shuffle": True, "fletcher32": True},
}

# Name -> (shape, shape it may have, chunk, index that HDF5 takes).
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int | None, ...], tuple[int, ...], int]] = {
    "one": ((5, 7), (5, 7), (5, 7), messages.SINGLE_INDEX),
    "fixed": ((11, 7), (11, 7), (3, 2), messages.FIXED_ARRAY_INDEX),
    "room to grow": ((11, 7), (23, 19), (3, 2), messages.FIXED_ARRAY_INDEX),
    "paged": ((2500,), (2500,), (2,), messages.FIXED_ARRAY_INDEX),
    "first endless": ((11, 7), (None, 7), (3, 2), messages.EXTENSIBLE_ARRAY_INDEX),
    "last endless": ((11, 7), (11, None), (3, 2), messages.EXTENSIBLE_ARRAY_INDEX),
    "middle endless": ((5, 6, 7), (9, None, 13), (2, 4, 3), messages.EXTENSIBLE_ARRAY_INDEX),
    "long": ((9_000,), (None,), (3,), messages.EXTENSIBLE_ARRAY_INDEX),
    "two endless": ((11, 7), (None, None), (3, 2), messages.RECORDS_INDEX),
    "many records": ((90, 70), (None, None), (2, 1), messages.RECORDS_INDEX),
}


def check(path: Path) -> None:
    """Compare every dataset with what h5py reads."""
    contents, source = open_hdf5(address(path).open())
    assert not contents.damage
    with h5py.File(path) as file:
        for tensor in contents.tensors:
            assert tensor.problem is None
            np.testing.assert_array_equal(read_value(source, tensor, 1 << 20), file[tensor.key][...], tensor.key)
    source.close()


def index_of(path: Path, key: str) -> int:
    with_storage = address(path).open()
    try:
        return read_tree(Hdf5File(with_storage)).datasets[key].layout.index
    finally:
        with_storage.close()


@pytest.mark.parametrize("options", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("case", SHAPES)
def test_every_index(tmp_path: Path, case: str, options: dict[str, object]) -> None:
    shape, most, chunk, index = SHAPES[case]
    rng = np.random.default_rng(len(case))
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_dataset("full", data=rng.integers(0, 99, shape), chunks=chunk, maxshape=most, **options)
        big = rng.normal(size=shape).astype(">f4")
        file.create_dataset("big", data=big, chunks=chunk, maxshape=most, **options)
        sparse = file.create_dataset("sparse", shape, "i4", chunks=chunk, maxshape=most, fillvalue=7, **options)
        for _ in range(3):
            sparse[tuple(int(rng.integers(size)) for size in shape)] = 1
    assert index_of(tmp_path / "a.h5", "full") == index
    check(tmp_path / "a.h5")


@pytest.mark.parametrize("case", [name for name, (shape, most, _, _) in SHAPES.items() if shape != most])
@pytest.mark.parametrize("grown", [True, False])
def test_what_was_resized(tmp_path: Path, case: str, grown: bool) -> None:
    shape, most, chunk, _ = SHAPES[case]
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        made = file.create_dataset("a", data=np.arange(np.prod(shape)).reshape(shape), chunks=chunk, maxshape=most)
        other = tuple(
            min(size + 5, limit or size + 5) if grown else size - 4 for size, limit in zip(shape, most, strict=True)
        )
        made.resize(other)
        made[(slice(None),) * (len(shape) - 1) + (slice(-2, None),)] = -1
    check(tmp_path / "a.h5")


@pytest.mark.parametrize("most", [(11, 7), (23, 19)])
def test_chunks_that_lie_one_after_the_other(tmp_path: Path, most: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk((3, 2))
        properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        space = h5s.create_simple((11, 7), most)
        made = h5py.Dataset(h5d.create(file.id, b"a", h5t.NATIVE_INT32, space, properties))
        made[...] = np.arange(77).reshape(11, 7)
    assert index_of(tmp_path / "a.h5", "a") == messages.IMPLICIT_INDEX
    check(tmp_path / "a.h5")


@pytest.mark.parametrize(("most", "count", "ballast"), [((24_000,), 12_000, 0), ((None,), 140_000, 30_000_000)])
def test_pages_that_were_never_written(tmp_path: Path, most: tuple[int | None], count: int, ballast: int) -> None:
    """Of an extensible array only blocks far behind have pages; so many chunks are for larger files only."""
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        made = file.create_dataset("a", (2 * count,), "i2", chunks=(2,), maxshape=most, fillvalue=-3)
        for at in (0, 9_000, count + 1_111, 2 * count - 1):
            made[at] = at % 1000
        file.create_dataset("ballast", data=np.zeros(ballast, "u1"))
    check(tmp_path / "a.h5")


@pytest.mark.parametrize("case", ["paged", "long", "many records", "middle endless"])
def test_no_damage_goes_unseen_or_unnamed(tmp_path: Path, case: str) -> None:
    """A changed byte anywhere gives the same values, other values of that very chunk, or an error of ours."""
    shape, most, chunk, _ = SHAPES[case]
    value = np.arange(np.prod(shape), dtype="<i4").reshape(shape)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_dataset("a", data=value, chunks=chunk, maxshape=most)
    whole = (tmp_path / "a.h5").read_bytes()
    rng = np.random.default_rng(3)
    marks = [
        whole.find(mark) for mark in (b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EADB", b"EASB", b"BTHD", b"BTLF", b"BTIN")
    ]
    places = [at + int(rng.integers(80)) for at in marks if at >= 0 for _ in range(6)]
    for at in [*places, *map(int, rng.integers(len(whole), size=20))]:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.h5").write_bytes(broken)
        try:
            contents, source = open_hdf5(address(tmp_path / "b.h5").open())
            found = read_value(source, contents.tensors[0], 1 << 20)
        except (CkptkitError, IndexError):
            continue
        assert (found != value).sum() <= np.prod(chunk), at


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_lzf_bytes_of_any_kind(packed: bytes, limit: int) -> None:
    try:
        assert len(unpack_lzf(packed, limit, "k")) <= limit
    except FormatError:
        pass
