"""The parts of the bundle format: wire format, tables, entries, strings, partitions, and what opening makes of lies."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats.partitions import Partition, part_pieces, read_joined
from ckptkit.formats.tensorflow import wire
from ckptkit.formats.tensorflow.bundle import table
from ckptkit.formats.tensorflow.bundle.checksum import crc32c, mask, unmask
from ckptkit.formats.tensorflow.bundle.entries import (
    BundleEntry,
    EntryParser,
    encode_entry,
    encode_header,
    parse_header,
)
from ckptkit.formats.tensorflow.bundle.object_graph import GRAPH_KEY, encode_object_graph, parse_object_graph
from ckptkit.formats.tensorflow.bundle.reader import open as open_bundle
from ckptkit.formats.tensorflow.bundle.slices import encode_slice_key, infer_parts
from ckptkit.formats.tensorflow.bundle.strings import encode_strings, parse_strings
from ckptkit.formats.tensorflow.bundle.table_writer import encode_block, encode_table
from ckptkit.model import Contents, GraphAttribute, GraphNode, GraphSlot, ObjectGraph, StoredTensor
from ckptkit.storage.address import address
from ckptkit.storage.scratch import hold
from tests.formats.reading import assert_same, read_all
from tests.formats.writing import write_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLOAT, STRING, RESOURCE, VARIANT = 1, 7, 20, 21
KERNEL = np.arange(12, dtype="<f4").reshape(4, 3) / 4
BIAS = np.array([0.5, -1.5, 2.5], "<f4")


class Bundle:
    """A bundle that is put together entry by entry, each of which may lie."""

    def __init__(self) -> None:
        self.header = encode_header(1)
        self.entries: dict[bytes, bytes] = {}
        self.data = b""

    def put(self, key: bytes, raw: bytes, dtype: int = FLOAT, shape: tuple[int, ...] = (), **lies: Any) -> Bundle:
        honest = {"dtype": dtype, "shape": shape, "shard": 0, "offset": len(self.data), "size": len(raw),
                  "crc": mask(crc32c(raw)), "slices": ()}  # fmt: skip
        self.entries[key] = encode_entry(BundleEntry(**{**honest, **lies}))
        self.data += raw
        return self

    def put_array(self, key: bytes, array: np.ndarray, **lies: Any) -> Bundle:
        return self.put(key, array.tobytes(), shape=lies.pop("shape", array.shape), **lies)

    def put_strings(self, key: bytes, strings: list[bytes], shape: tuple[int, ...] = ()) -> Bundle:
        raw, crc = encode_strings(strings)
        return self.put(key, raw, STRING, shape, crc=crc)

    def write(self, prefix: Path, data: bytes | None = None) -> str:
        rows = [(b"", self.header), *sorted(self.entries.items())]
        Path(f"{prefix}.index").write_bytes(b"".join(encode_table(rows)))
        Path(f"{prefix}.data-00000-of-00001").write_bytes(self.data if data is None else data)
        return str(prefix)


def base() -> Bundle:
    return Bundle().put_array(b"bias", BIAS).put_array(b"kernel", KERNEL)


def problems(prefix: str) -> dict[str, str]:
    contents, source = open_bundle(address(prefix))
    source.close()
    return {tensor.key: tensor.problem for tensor in contents.tensors if tensor.problem}


# wire format


@given(st.binary(max_size=120))
def test_any_bytes_are_fields_or_an_error(data: bytes) -> None:
    storage = hold("x", len(data), [data])
    try:
        fields = list(wire.parse_fields(data))
    except FormatError:
        with pytest.raises(FormatError):
            list(wire.scan_fields(storage, 0, len(data)))
        return
    scanned = [
        (tag, first if tag & 7 != 2 else data[first:last])
        for tag, first, last in wire.scan_fields(storage, 0, len(data))
    ]
    assert scanned == fields


@given(st.integers(-(2**63), 2**64 - 1))
def test_varints_return(value: int) -> None:
    encoded = wire.encode_varint(value)
    found, at = wire.parse_varint(encoded, 0)
    assert at == len(encoded)
    assert found == value % 2**64
    assert wire.signed(found) == (value if value < 2**63 else value - 2**64)


def test_over_long_varints_are_legal_up_to_ten_bytes() -> None:
    assert wire.parse_varint(b"\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00", 0) == (5, 10)
    with pytest.raises(FormatError, match="10 bytes"):
        wire.parse_varint(b"\x80" * 10 + b"\x01", 0)
    with pytest.raises(FormatError, match="ends inside"):
        wire.parse_varint(b"\x80", 0)


def test_unknown_fields_and_groups_are_skipped() -> None:
    group = wire.encode_varint(9 << 3 | 3) + wire.encode_bytes(2, b"x") + wire.encode_varint(9 << 3 | 4)
    assert [tag for tag, _ in wire.parse_fields(group + wire.encode_number(1, 7))] == [8]
    deep = wire.encode_varint(9 << 3 | 3) * 100_000
    with pytest.raises(FormatError, match="inside a group"):
        list(wire.parse_fields(deep))


def test_checksums_are_masked_as_leveldb_masks_them() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert mask(crc32c(b"foo")) != crc32c(b"foo")
    assert unmask(mask(crc32c(b"foo"))) == crc32c(b"foo")


# tables


def opened(data: bytes) -> list[tuple[bytes, bytes]]:
    return list(table.read_entries(table.open_table(hold("t", len(data), [data]))))


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=60), max_size=80), st.integers(0, 300))
@settings(deadline=None)
def test_tables_return(rows: dict[bytes, bytes], large: int) -> None:
    entries = sorted((key, value * large) for key, value in rows.items())
    data = b"".join(encode_table(entries))
    assert opened(data) == entries


def test_tables_of_many_blocks_return_and_are_located() -> None:
    entries = [(b"key%07d" % number, bytes(1000)) for number in range(2000)]
    data = b"".join(encode_table(entries))
    found = table.open_table(hold("t", len(data), [data]))
    assert len(found.blocks) > 5
    assert list(table.read_entries(found)) == entries
    block = table.open_block(found.storage, found.blocks[3][1])
    places = table.locate_entries(block)
    assert sorted(places) == list(places)
    assert all(end - begin == 1000 for begin, end in places.values())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_block_or_an_error(data: bytes) -> None:
    try:
        entries = table.parse_block(data)
    except CkptkitError:
        return
    assert dict(entries).keys() == table.locate_entries(hold("b", len(data), [data])).keys()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error(data: bytes) -> None:
    with pytest.raises(CkptkitError):
        opened(data + table.MAGIC)


@given(st.data())
@settings(deadline=None)
def test_no_flipped_bit_of_a_table_goes_unseen(data: st.DataObject) -> None:
    entries = [(b"a" * number, bytes([number]) * 9) for number in range(40)]
    good = bytearray(b"".join(encode_table(entries)))
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    good[place // 8] ^= 1 << place % 8
    try:
        assert opened(bytes(good)) == entries  # the padding of the footer is in no checksum
    except CkptkitError:
        pass


def sealed(content: bytes, kind: int) -> bytes:
    return content + bytes([kind]) + struct.pack("<I", mask(crc32c(content + bytes([kind]))))


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_compressed_blocks_are_inflated(data: bytes) -> None:
    compressed = bytes(cramjam.snappy.compress_raw(data))
    stored = sealed(compressed, 1)
    storage = hold("b", len(stored), [stored])
    assert bytes(table.read_block(storage, table.Handle(0, len(compressed)))) == data
    block = table.open_block(storage, table.Handle(0, len(compressed)))
    assert block.size == len(data)


@given(st.binary(min_size=1, max_size=200))
def test_any_compressed_bytes_are_a_block_or_an_error(data: bytes) -> None:
    stored = sealed(data, 1)
    try:
        table.read_block(hold("b", len(stored), [stored]), table.Handle(0, len(data)))
    except CkptkitError:
        pass


@pytest.mark.parametrize(
    ("stored", "error", "words"),
    [
        (sealed(wire.encode_varint(2**32 - 1) + b"abc", 1), LimitError, "declares too much"),
        (sealed(b"abc", 7), UnsupportedError, "unknown way"),
        (sealed(b"abc", 0)[:-1] + b"\0", ChecksumError, "checksum"),
    ],
)
def test_blocks_that_lie(stored: bytes, error: type[CkptkitError], words: str) -> None:
    with pytest.raises(error, match=words):
        table.read_block(hold("b", len(stored), [stored]), table.Handle(0, len(stored) - 5))


def test_names_that_prefixes_blow_up_are_limited() -> None:
    size = 100_000
    first = wire.encode_varint(0) + wire.encode_varint(size) + wire.encode_varint(0) + b"k" * size
    more = b"".join(wire.encode_varint(size + number) + b"\1\0a" for number in range(1000))
    block = first + more + struct.pack("<II", 0, 1)
    assert len(block) < 110_000
    with pytest.raises(LimitError, match="names in the index"):
        table.parse_block(block)
    with pytest.raises(LimitError, match="names in the index"):
        table.locate_entries(hold("b", len(block), [block]))


@pytest.mark.parametrize(
    "restarts",
    [(0, 1), (1,), (0, 0), (0, 10**9), ()],
    ids=["inside an entry", "not at 0", "twice", "beyond", "none"],
)
def test_restarts_that_lie(restarts: tuple[int, ...]) -> None:
    content = encode_block([(b"a", b"1"), (b"ab", b"2")])[:-8]
    with pytest.raises(FormatError):
        table.parse_block(content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts)))


def test_keys_out_of_order_are_refused() -> None:
    for rows in ([(b"b", b""), (b"a", b"")], [(b"a", b""), (b"a", b"")]):
        with pytest.raises(FormatError, match="not in order"):
            opened(b"".join(encode_table(rows)))


# entries


@given(
    st.builds(
        BundleEntry,
        dtype=st.integers(0, 130),
        shape=st.lists(st.integers(0, 2**62), max_size=5).map(tuple),
        shard=st.integers(-5, 2**31 - 1),
        offset=st.integers(-(2**63), 2**63 - 1),
        size=st.integers(-(2**63), 2**63 - 1),
        crc=st.integers(0, 2**32 - 1),
        slices=st.lists(
            st.lists(st.tuples(st.integers(1, 99), st.integers(0, 99)) | st.just((0, -1)), max_size=3).map(tuple),
            max_size=3,
        ).map(tuple),
    )
)
def test_entries_return(entry: BundleEntry) -> None:
    assert EntryParser().parse(encode_entry(entry)) == entry


@given(st.binary(max_size=80))
def test_any_bytes_are_an_entry_or_an_error(data: bytes) -> None:
    for parse in (EntryParser().parse, parse_header, parse_object_graph):
        try:
            parse(data)
        except CkptkitError:
            pass


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"", FormatError),
        (wire.encode_number(1, -1), FormatError),
        (wire.encode_number(1, 100_000), FormatError),
        (encode_header(1) + wire.encode_number(2, 1), UnsupportedError),
        (wire.encode_number(1, 1) + wire.encode_bytes(3, wire.encode_number(2, 2)), UnsupportedError),
        (wire.encode_number(1, 1) + wire.encode_bytes(3, wire.encode_number(3, 1)), UnsupportedError),
    ],
    ids=["no shards", "negative", "too many", "big-endian", "min_consumer", "bad_consumer"],
)
def test_headers_that_are_refused(header: bytes, error: type[CkptkitError]) -> None:
    with pytest.raises(error):
        parse_header(header)


# strings


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_strings_return(strings: list[bytes]) -> None:
    data, crc = encode_strings(strings)
    assert parse_strings(data, len(strings), crc) == strings


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5), st.data())
def test_no_flipped_bit_of_strings_goes_unseen(strings: list[bytes], data: st.DataObject) -> None:
    stored, crc = encode_strings(strings)
    place = data.draw(st.integers(0, len(stored) * 8 - 1))
    flipped = bytearray(stored)
    flipped[place // 8] ^= 1 << place % 8
    with pytest.raises(FormatError):
        parse_strings(flipped, len(strings), crc)


def test_strings_that_would_fill_memory_are_limited() -> None:
    with pytest.raises(LimitError):
        parse_strings(bytes(4_000_000), 3_000_000, 0)


# partitions


def test_slice_keys_are_those_of_tensorflow() -> None:
    # `EncodeTensorNameSlice("a", {0, 2} x {-, -})`: 0, "a", rank 2, four signed numbers.
    assert encode_slice_key(b"a", ((0, 2), (0, -1))) == b"\x00a\x00\x01\x01\x02\x80\x82\x80\x7f"
    assert encode_slice_key(b"\x00\xff", ()) == b"\x00\x00\xff\xff\x00\x00\x01\x00"
    assert encode_slice_key(b"a", ((64, 8192),))[6:] == b"\xc0\x40\xe0\x20\x00"


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_slice_keys_sort_as_their_numbers(one: int, other: int) -> None:
    first, second = encode_slice_key(b"a", ((one, 0),)), encode_slice_key(b"a", ((other, 0),))
    assert (first < second) == (one < other)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Partition]]:
    """A shape, cut at random places again and again."""
    shape = tuple(draw(st.lists(st.integers(1, 6), max_size=3)))
    parts = [Partition((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, 5)) if shape else 0):
        part = parts.pop(draw(st.integers(0, len(parts) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        at = draw(st.integers(0, part.lengths[axis]))
        for start, length in ((0, at), (at, part.lengths[axis] - at)):
            starts, lengths = list(part.starts), list(part.lengths)
            starts[axis], lengths[axis] = starts[axis] + start, length
            parts.append(Partition(tuple(starts), tuple(lengths)))
    return shape, parts


def extents(part: Partition) -> tuple[tuple[int, int], ...]:
    return tuple(zip(part.starts, part.lengths, strict=True))


@given(tilings(), st.integers(1, 50), st.sampled_from([1, 4]))
@settings(deadline=None)
def test_parts_are_joined_and_cut_again(
    tiling: tuple[tuple[int, ...], list[Partition]], window: int, itemsize: int
) -> None:
    shape, parts = tiling
    whole = np.arange(int(np.prod(shape)), dtype=f"<u{itemsize}").reshape(shape)
    assert infer_parts(shape, tuple(map(extents, parts))) == tuple(parts)
    pieces = []
    for part in parts:
        where = tuple(slice(start, start + length) for start, length in extents(part))
        pieces.append(whole[where].tobytes())
    asked: list[int] = [0] * len(parts)

    def read_part(number: int, at: int, into: memoryview) -> None:
        assert at == asked[number]  # ranges follow each other, as the checksums need it
        asked[number] += len(into)
        into[:] = pieces[number][at : at + len(into)]

    data = whole.tobytes()
    found = bytearray(len(data))
    for at in range(0, len(data), window):
        read_joined(tuple(parts), shape, itemsize, at, memoryview(found)[at : at + window], read_part)
    assert bytes(found) == data
    assert asked == [len(piece) for piece in pieces]

    def read_whole(at: int, into: memoryview) -> None:
        into[:] = data[at : at + len(into)]

    for part, piece in zip(parts, pieces, strict=True):
        cut = part_pieces(part, shape, itemsize, read_whole, memoryview(bytearray(window)))
        assert b"".join(map(bytes, cut)) == piece


@given(tilings(), st.data())
def test_parts_that_do_not_tile_are_refused(
    tiling: tuple[tuple[int, ...], list[Partition]], data: st.DataObject
) -> None:
    shape, parts = tiling
    solid = [part for part in parts if part.size]
    if not solid:
        return
    victim = data.draw(st.sampled_from(solid))
    changed = [part for part in parts if part is not victim]
    if data.draw(st.booleans()):
        changed += [victim, victim]
    with pytest.raises(FormatError):
        infer_parts(shape, tuple(map(extents, changed)))


def put_sliced(bundle: Bundle, parts: list[tuple[tuple[tuple[int, int], ...], np.ndarray | None]]) -> Bundle:
    bundle.put(b"kernel", b"", shape=(4, 3), slices=tuple(where for where, _ in parts))
    for where, array in parts:
        if array is not None:
            bundle.put_array(encode_slice_key(b"kernel", where), array)
    return bundle


ALL = (0, -1)
UPPER, LOWER = ((0, 2), ALL), ((2, 2), ALL)


def test_partitioned_variable_is_joined(tmp_path: Path) -> None:
    bundle = put_sliced(Bundle().put_array(b"bias", BIAS), [(UPPER, KERNEL[:2]), (LOWER, KERNEL[2:])])
    contents, values = read_all(bundle.write(tmp_path / "m"), window=16)
    assert [tensor.key for tensor in contents.tensors] == ["bias", "kernel"]
    assert_same(values["kernel"], KERNEL)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(UPPER, KERNEL[:2])], "leave a hole"),
        ([(UPPER, KERNEL[:2]), (LOWER, None)], "is missing"),
        ([(UPPER, KERNEL[:2]), (((1, 3), ALL), KERNEL[1:])], "overlap"),
        ([(UPPER, KERNEL[:2]), (((40, 2), ALL), KERNEL[2:])], "reaches beyond"),
        ([(UPPER, KERNEL[:2]), (LOWER, KERNEL[:1])], "another type or shape"),
        ([(UPPER, KERNEL[:2]), (((2, 2),), KERNEL[2:])], "another rank"),
        ([(UPPER, KERNEL[:2]), (LOWER, KERNEL[2:]), (((4, 0), ALL), KERNEL[4:]), (((4, 0), ALL), None)], "twice"),
    ],
)
def test_partitions_that_lie(tmp_path: Path, parts: Any, words: str) -> None:
    assert words in problems(put_sliced(Bundle(), parts).write(tmp_path / "m"))["kernel"]


def test_flipped_bit_in_a_partition_is_found(tmp_path: Path) -> None:
    bundle = put_sliced(Bundle(), [(UPPER, KERNEL[:2]), (LOWER, KERNEL[2:])])
    data = bytearray(bundle.data)
    data[30] ^= 4
    with pytest.raises(ChecksumError):
        read_all(bundle.write(tmp_path / "m", bytes(data)))


def test_partition_that_no_variable_lists_is_shown(tmp_path: Path) -> None:
    bundle = base().put_array(encode_slice_key(b"lost", (UPPER)), KERNEL[:2])
    (lost,) = problems(bundle.write(tmp_path / "m")).values()
    assert "no variable lists" in lost


# opening


def lie(**lies: Any) -> Callable[[], Bundle]:
    return lambda: Bundle().put_array(b"bias", BIAS).put_array(b"kernel", KERNEL, **lies)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lie(offset=1 << 40), "cut short"),
        (lie(offset=-8), "negative"),
        (lie(size=-48), "negative"),
        (lie(size=44), "does not fit its shape"),
        (lie(size=1 << 40), "does not fit its shape"),
        (lie(shard=7), "shard 7 of 1"),
        (lie(shard=-1), "shard -1 of 1"),
        (lie(offset=4), "also those of another"),
        (lie(shape=(1 << 31,) * 3), "does not fit its shape"),
        (lie(shape=(1,) * 65 + (12,)), "66 dimensions"),
        (lie(dtype=0), "type (tensorflow-0)"),
        (lie(dtype=RESOURCE), "type (resource)"),
        (lie(dtype=VARIANT), "type (variant)"),
        (lie(dtype=STRING, shape=(100,)), "does not fit its shape"),
    ],
)
def test_lies_about_data_are_problems(tmp_path: Path, make: Callable[[], Bundle], words: str) -> None:
    prefix = make().write(tmp_path / "m")
    assert words in problems(prefix)["kernel"]
    _, source = open_bundle(address(prefix))
    with pytest.raises(FormatError, match="kernel"):
        source.read_into("kernel", 0, memoryview(bytearray(4)))
    with pytest.raises(FormatError, match="kernel"):
        list(source.stream("kernel", memoryview(bytearray(4))))
    source.close()


def test_unknown_rank_is_a_problem(tmp_path: Path) -> None:
    bundle = base()
    bundle.entries[b"x"] = wire.encode_number(1, FLOAT) + wire.encode_bytes(2, wire.encode_number(3, 1))
    assert "rank" in problems(bundle.write(tmp_path / "m"))["x"]


def test_negative_dimension_is_an_error(tmp_path: Path) -> None:
    prefix = lie(shape=(-4, 3))().write(tmp_path / "m")
    with pytest.raises(FormatError, match="kernel: a dimension is negative"):
        open_bundle(address(prefix))


@pytest.mark.parametrize("raw", [b"\x08\x01\x12\x40\x12", bytes(range(200, 256)), b"\x08" + b"\xff" * 20])
def test_malformed_entry_is_an_error(tmp_path: Path, raw: bytes) -> None:
    bundle = base()
    bundle.entries[b"kernel"] = raw
    prefix = bundle.write(tmp_path / "m")
    with pytest.raises(FormatError, match="kernel"):
        open_bundle(address(prefix))


@pytest.mark.parametrize(("data", "concerned"), [(b"", {"bias", "kernel"}), (BIAS.tobytes() + b"abc", {"kernel"})])
def test_cut_data_is_listed(tmp_path: Path, data: bytes, concerned: set[str]) -> None:
    assert problems(base().write(tmp_path / "m", data)).keys() == concerned


def test_missing_data_is_listed(tmp_path: Path) -> None:
    prefix = base().write(tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    assert set(problems(prefix).values()) == {"its shard is missing"}
    contents, source = open_bundle(address(prefix))
    source.close()
    assert contents.damage == ("bias and 1 more: its shard is missing",)


def test_lfs_pointer_in_place_of_data_is_named(tmp_path: Path) -> None:
    prefix = base().write(tmp_path / "m", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 60\n")
    assert "git-lfs" in problems(prefix)["kernel"]


def test_fifo_in_place_of_data_is_not_opened(tmp_path: Path) -> None:
    import os

    prefix = base().write(tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    os.mkfifo(tmp_path / "m.data-00000-of-00001")
    assert "cannot be read" in problems(prefix)["kernel"]


def test_any_flipped_bit_of_the_data_is_found(tmp_path: Path) -> None:
    bundle = base()
    for place in (0, 13, 59):
        data = bytearray(bundle.data)
        data[place] ^= 0x80
        with pytest.raises(ChecksumError, match="crc32c"):
            read_all(bundle.write(tmp_path / "m", bytes(data)))


@given(place=st.integers(0, 10**6), value=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_of_the_index_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    prefix = base().put_strings(b"names", [b"a", b"bc"], (2,)).write(tmp_path_factory.mktemp("b") / "m")
    _, expected = read_all(prefix)
    index = bytearray(Path(f"{prefix}.index").read_bytes())
    index[place % len(index)] ^= value
    Path(f"{prefix}.index").write_bytes(index)
    try:
        _, found = read_all(prefix)
    except CkptkitError:
        return
    assert {key: array.tolist() for key, array in found.items()} == {
        key: array.tolist() for key, array in expected.items()
    }


def test_pieces_hold_whole_elements(tmp_path: Path) -> None:
    _, source = open_bundle(address(base().write(tmp_path / "m")))
    assert [len(piece) for piece in source.stream("bias", memoryview(bytearray(7)))] == [4, 4, 4]
    assert b"".join(bytes(piece) for piece in source.stream("bias", memoryview(bytearray(3)))) == BIAS.tobytes()
    buffer = bytearray(6)
    source.read_into("bias", 3, memoryview(buffer))
    assert bytes(buffer) == BIAS.tobytes()[3:9]
    with pytest.raises(FormatError, match="beyond"):
        source.read_into("bias", 8, memoryview(buffer))
    source.close()


def test_empty_tensors_and_odd_names(tmp_path: Path) -> None:
    bundle = Bundle().put_array(b"empty", np.zeros((0, 3), "<f4")).put_array("ключ".encode(), BIAS)
    bundle.put_array(b"\xff\xfe", BIAS).put_strings(b"none", [], (0,))
    contents, values = read_all(bundle.write(tmp_path / "m"))
    assert [tensor.key for tensor in contents.tensors] == ["empty", "none", "ключ", "\\xff\\xfe"]
    assert values["empty"].shape == (0, 3)
    assert values["none"].shape == (0,)


def test_strings_are_not_bytes_and_bytes_are_not_strings(tmp_path: Path) -> None:
    _, source = open_bundle(address(base().put_strings(b"names", [b"a"]).write(tmp_path / "m")))
    with pytest.raises(UnsupportedError):
        source.read_strings("bias")
    with pytest.raises(UnsupportedError):
        list(source.stream("names", memoryview(bytearray(8))))
    source.close()
    source.close()


# object graph


def graph_of(count: int) -> ObjectGraph:
    """A chain of `count` nodes that ends in a variable, and back to the root."""
    nodes = [GraphNode(children=(("next", place + 1), ("root", 0))) for place in range(count)]
    attribute = GraphAttribute("VARIABLE_VALUE", "kernel_name", "kernel/.ATTRIBUTES/VARIABLE_VALUE")
    return ObjectGraph((*nodes, GraphNode(attributes=(attribute,), slots=(GraphSlot(count, "m", 0),))))


def test_object_graph_returns_and_names_variables(tmp_path: Path) -> None:
    graph = graph_of(5000)
    assert parse_object_graph(encode_object_graph(graph)) == (graph, ())
    bundle = Bundle().put_strings(GRAPH_KEY.encode(), [encode_object_graph(graph)])
    contents, _ = read_all(bundle.put_array(b"kernel/.ATTRIBUTES/VARIABLE_VALUE", KERNEL).write(tmp_path / "m"))
    assert contents.structure == graph
    assert contents.tensors[1].aliases == ("kernel_name",)


@pytest.mark.parametrize("node", [99, -1])
def test_dangling_references_are_left_out_and_said(tmp_path: Path, node: int) -> None:
    graph = ObjectGraph(
        (GraphNode(children=(("ok", 1), ("ghost", node)), slots=(GraphSlot(0, "m", node),)), GraphNode())
    )
    contents, _ = read_all(Bundle().put_strings(GRAPH_KEY.encode(), [encode_object_graph(graph)]).write(tmp_path / "m"))
    assert contents.structure == ObjectGraph((GraphNode(children=(("ok", 1),)), GraphNode()))
    assert f"node {node} of 2, and 1 more" in contents.damage[0]


@pytest.mark.parametrize("raw", [b"", b"\x0a\x05\x0a", b"\xff"])
def test_broken_graph_is_damage(tmp_path: Path, raw: bytes) -> None:
    contents, values = read_all(base().put_strings(GRAPH_KEY.encode(), [raw]).write(tmp_path / "m"))
    assert contents.structure is None
    assert "object graph" in contents.damage[0]
    assert_same(values["kernel"], KERNEL)


def test_graph_of_too_many_references_is_damage(tmp_path: Path) -> None:
    raw = wire.encode_bytes(1, b"\x0a\x00" * 250_000) * 9
    contents, _ = read_all(base().put_strings(GRAPH_KEY.encode(), [raw]).write(tmp_path / "m"))
    assert contents.structure is None
    assert "too large" in contents.damage[0]


# beside the bundle


def test_leftovers_of_an_interrupted_save_are_mentioned(tmp_path: Path) -> None:
    prefix = base().write(tmp_path / "m")
    (tmp_path / "m_temp_0123abcd").mkdir()
    (tmp_path / "m_temporary").mkdir()
    contents, _ = read_all(prefix)
    assert contents.notes == ("left over from an interrupted save: m_temp_0123abcd",)


def test_broken_meta_is_a_note(tmp_path: Path) -> None:
    prefix = base().write(tmp_path / "m")
    (tmp_path / "m.meta").write_bytes(b"\xff" * 40)
    contents, _ = read_all(prefix)
    assert contents.meta_graph is None
    assert "the graph beside it is not used" in contents.notes[0]


@given(data=st.binary(max_size=100))
@settings(max_examples=60, deadline=None)
def test_any_meta_is_used_or_noted(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    prefix = base().write(tmp_path_factory.mktemp("b") / "m")
    Path(f"{prefix}.meta").write_bytes(data)
    _, values = read_all(prefix)
    assert values.keys() == {"bias", "kernel"}


# writing


class Values:
    """A source of given bytes."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        yield memoryview(self.values[key])


def contents_of(*tensors: StoredTensor) -> Contents:
    return Contents("tensor-bundle", None, tensors)


def test_data_of_another_length_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CkptkitError, match="does not fit the shape"):
        write_new(
            "tensor-bundle",
            str(tmp_path / "m"),
            contents_of(StoredTensor("a", (3,), "float32", 12)),
            Values({"a": b"1234"}),
        )
    assert not (tmp_path / "m.index").exists()


@pytest.mark.parametrize(
    "tensor",
    [
        StoredTensor("", (), "float32", 4),
        StoredTensor("\0a", (), "float32", 4),
        StoredTensor("a", (), "float8_e8m0fnu", 1),
    ],
)
def test_what_a_bundle_cannot_hold_is_refused(tmp_path: Path, tensor: StoredTensor) -> None:
    with pytest.raises(UnsupportedError):
        write_new("tensor-bundle", str(tmp_path / "m"), contents_of(tensor), Values({tensor.key: bytes(tensor.nbytes)}))


@pytest.mark.parametrize("dtype", [row.name for row in dtypes.TABLE if row.tensorflow and row.name != "string"])
def test_every_type_returns(tmp_path: Path, dtype: str) -> None:
    data = bytes(range(6 * dtypes.itemsize(dtype)))
    tensor = StoredTensor("a", (2, 3), dtype, len(data))
    write_new("tensor-bundle", str(tmp_path / "m"), contents_of(tensor), Values({"a": data}))
    contents, source = open_bundle(address(str(tmp_path / "m")))
    assert contents.tensors == (tensor,)
    assert b"".join(bytes(piece) for piece in source.stream("a", memoryview(bytearray(5)))) == data
    source.close()
    assert (tmp_path / "m.data-00000-of-00001").stat().st_size == len(data)
