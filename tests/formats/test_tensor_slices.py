"""V1 checkpoints: of TensorFlow where it still writes them, made byte by byte where it does not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import dtypes
from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.tensorflow.bundle.entries import encode_shape, encode_slice
from ckptkit.formats.tensorflow.bundle.slices import encode_slice_key
from ckptkit.formats.tensorflow.bundle.table_writer import encode_table
from ckptkit.formats.tensorflow.v1.reader import open as open_v1
from ckptkit.formats.tensorflow.v1.values import open_values
from ckptkit.formats.tensorflow.wire import encode_bytes, encode_number, encode_varint
from ckptkit.storage.address import address
from ckptkit.storage.scratch import hold
from tests.formats.reading import assert_same, read_all
from tests.formats.tf_graphs import save_graph

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = (0, -1)
Extents = tuple[tuple[int, int], ...]


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("sharded", [False, True])
def test_as_tensorflow_wrote_it(tmp_path: Path, axis: int | None, sharded: bool) -> None:
    pytest.importorskip("tensorflow")
    path = tmp_path / "m.ckpt"
    expected = save_graph(str(path), version=1, axis=axis, sharded=sharded)
    files = sorted(each for each in tmp_path.iterdir() if each.name.startswith("m.ckpt") and each.suffix != ".meta")
    assert len(files) == (3 if sharded else 1)
    for opened in (path, files[0], tmp_path):  # what they have in common, one of them, the folder with its state file
        contents, values = read_all(opened, window=40)
        assert contents.format == "tf-v1"
        assert contents.damage == ()
        assert values.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(values[name], value)
        assert contents.meta_graph is not None
        assert [each.name for each in contents.meta_graph.variables][:2] == ["net/w", "net/x"]


def test_missing_file_of_several_is_damage(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    save_graph(str(tmp_path / "m"), version=1, axis=0, sharded=True)
    (tmp_path / "m-00001-of-00003").unlink()
    contents, source = open_v1(address(str(tmp_path / "m")))
    source.close()
    assert "on1" not in {tensor.key for tensor in contents.tensors}
    assert contents.damage == ("1 of 3 files are missing; what they hold is not even listed",)


def v1_file(tensors: dict[str, tuple[int, tuple[int, ...], dict[Extents, bytes]]]) -> bytes:
    """A V1 checkpoint: name -> (TensorFlow's type, shape, slice -> fields of its TensorProto)."""
    metas, rows = b"", []
    for name, (dtype, shape, slices) in tensors.items():
        declared = b"".join(encode_bytes(4, encode_slice(each)) for each in slices)
        fixed = encode_bytes(1, name.encode()) + encode_bytes(2, encode_shape(shape)) + encode_number(3, dtype)
        metas += encode_bytes(1, fixed + declared)
        for extents, fields in slices.items():
            saved = encode_bytes(1, name.encode()) + encode_bytes(2, encode_slice(extents)) + encode_bytes(3, fields)
            rows.append((encode_slice_key(name.encode(), extents), encode_bytes(2, saved)))
    head = (b"", encode_bytes(1, metas + encode_bytes(2, encode_number(1, 1))))
    return b"".join(encode_table([head, *sorted(rows)]))


def packed(number: int, values: Any) -> bytes:
    return encode_bytes(number, b"".join(encode_varint(int(value)) for value in values))


FLOATS = np.arange(12, dtype="<f4")


@pytest.mark.parametrize(
    ("dtype", "fields"),
    [
        ("float32", encode_bytes(5, FLOATS.tobytes())),
        ("float32", b"".join(encode_varint(5 << 3 | 5) + struct.pack("<f", value) for value in FLOATS)),
        ("float32", encode_bytes(5, FLOATS[:5].tobytes()) + encode_bytes(5, FLOATS[5:].tobytes())),
        ("float32", encode_bytes(4, FLOATS.tobytes())),
        ("float64", encode_bytes(6, FLOATS.astype("<f8").tobytes())),
        ("int32", packed(7, range(-6, 6))),
        ("int32", b"".join(encode_varint(7 << 3) + encode_varint(value) for value in range(-6, 6))),
        ("int8", packed(7, range(-6, 6))),
        ("uint8", packed(7, range(244, 256))),
        ("int64", packed(10, range(-(10**12), 12 - 10**12))),
        ("bool", packed(11, [1, 0] * 6)),
        ("float16", packed(13, FLOATS.astype("<f2").view("<u2"))),
        ("uint32", packed(16, range(2**32 - 12, 2**32))),
        ("uint64", packed(17, range(2**64 - 12, 2**64))),
    ],
)
def test_every_field_of_values(tmp_path: Path, dtype: str, fields: bytes) -> None:
    number = dtypes.BY_NAME[dtype].tensorflow
    assert number is not None
    (tmp_path / "c").write_bytes(v1_file({"v": (number, (3, 4), {(WHOLE, WHOLE): fields})}))
    _, values = read_all(tmp_path / "c", window=16)
    expected = {
        "int32": np.arange(-6, 6), "int8": np.arange(-6, 6), "uint8": np.arange(244, 256),
        "int64": np.arange(-(10**12), 12 - 10**12), "bool": np.array([1, 0] * 6),
        "uint32": np.arange(2**32 - 12, 2**32), "uint64": np.arange(12, dtype="u8") + np.uint64(2**64 - 12),
    }.get(dtype, FLOATS)  # fmt: skip
    assert_same(values["v"], expected.astype(dtypes.numpy_dtype(dtype)).reshape(3, 4))


def test_large_packed_varints_are_decoded_in_units(tmp_path: Path) -> None:
    values = np.arange(-300_000, 300_000, dtype=np.int64)
    fields = packed(10, values)
    assert len(fields) > 2 << 20
    (tmp_path / "c").write_bytes(v1_file({"v": (9, values.shape, {(WHOLE,): fields})}))
    assert_same(read_all(tmp_path / "c")[1]["v"], values)


def test_slices_are_joined(tmp_path: Path) -> None:
    whole = np.arange(24, dtype="<f4").reshape(4, 6)
    slices = {
        ((0, 1), WHOLE): whole[:1],
        ((1, 3), (0, 2)): whole[1:, :2],
        ((1, 3), (2, 4)): whole[1:, 2:],
    }
    fields = {extents: encode_bytes(5, part.tobytes()) for extents, part in slices.items()}
    (tmp_path / "c").write_bytes(v1_file({"v": (1, (4, 6), fields)}))
    for window in (4, 20, 1000):
        assert_same(read_all(tmp_path / "c", window)[1]["v"], whole)


def test_ranges_are_read(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(v1_file({"v": (1, (12,), {(WHOLE,): encode_bytes(5, FLOATS.tobytes())})}))
    _, source = open_v1(address(str(tmp_path / "c")))
    buffer = bytearray(8)
    source.read_into("v", 12, memoryview(buffer))
    assert np.frombuffer(buffer, "<f4").tolist() == [3.0, 4.0]
    with pytest.raises(FormatError, match="beyond the tensor"):
        source.read_into("v", 44, memoryview(buffer))
    source.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"v": (1, (12,), {})}, "lists no data"),
        ({"v": (1, (12,), {((0, 6),): b""})}, "leave a hole"),
        ({"v": (1, (2**40,), {(WHOLE,): b""})}, "more than the file can hold"),
        ({"v": (99, (12,), {(WHOLE,): b""})}, "data of this type"),
        ({"v": (7, (4,), {((0, 2),): b"", ((2, 2),): b""})}, "strings in several slices"),
    ],
)
def test_problems_are_listed(tmp_path: Path, content: Any, problem: str) -> None:
    (tmp_path / "c").write_bytes(v1_file(content))
    contents, source = open_v1(address(str(tmp_path / "c")))
    assert problem in str(contents.tensors[0].problem)
    assert problem in contents.damage[0]
    with pytest.raises(FormatError, match="v: "):
        list(source.stream("v", memoryview(bytearray(64))))
    source.close()


@pytest.mark.parametrize(
    "fields",
    [b"", encode_bytes(5, FLOATS[:11].tobytes()), encode_bytes(5, FLOATS.tobytes() + b"\0\0\0\0"), b"\x2a\x7f"],
)
def test_wrong_number_of_values_is_an_error(tmp_path: Path, fields: bytes) -> None:
    (tmp_path / "c").write_bytes(v1_file({"v": (1, (12,), {(WHOLE,): fields})}))
    _, source = open_v1(address(str(tmp_path / "c")))
    with pytest.raises(FormatError):
        list(source.stream("v", memoryview(bytearray(64))))
    source.close()


def test_value_beyond_its_type_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(v1_file({"v": (6, (1,), {(WHOLE,): packed(7, [300])})}))
    _, source = open_v1(address(str(tmp_path / "c")))
    with pytest.raises(FormatError, match="out of its type's range"):
        list(source.stream("v", memoryview(bytearray(64))))
    source.close()


def test_flipped_bit_in_data_is_found(tmp_path: Path) -> None:
    data = bytearray(v1_file({"v": (1, (12,), {(WHOLE,): encode_bytes(5, FLOATS.tobytes())})}))
    data[data.index(FLOATS.tobytes()) + 3] ^= 1
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(CkptkitError, match=r"/c: a table block does not match its checksum"):
        open_contents(str(tmp_path / "c"))


def test_type_that_v1_never_held_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        open_values(hold("x", 0, []), 0, 0, "float8_e5m2", 0)


def test_scattered_values_are_limited() -> None:
    field = encode_varint(7 << 3) + b"\1"
    data = field * ((1 << 20) + 1)
    with pytest.raises(LimitError):
        open_values(hold("x", len(data), [data]), 0, len(data), "int32", (1 << 20) + 1)


@given(
    st.binary(max_size=200), st.sampled_from(["float32", "int32", "bool", "float16", "complex64"]), st.integers(0, 9)
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_values_or_an_error(data: bytes, dtype: str, count: int) -> None:
    try:
        values = open_values(hold("x", len(data), [data]), 0, len(data), dtype, count)
    except CkptkitError:
        return
    assert values.size == count * dtypes.itemsize(dtype)
    values.close()
