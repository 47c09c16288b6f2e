"""MessagePack trees: Flax writes what we read, and reads what we write."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit import dtypes
from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.locate import locate
from ckptkit.formats.msgpack import writer
from ckptkit.model import read_tensor
from tests.conftest import FIXTURES
from tests.formats.conformance import FormatConformance, Tensors, check_message, counted, raw, whole

STATE = FIXTURES / "flax-msgpack" / "state.msgpack"
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16", "complex64", "complex128",
)  # fmt: skip


def serialization() -> Any:
    return pytest.importorskip("flax").serialization


class TestMsgpack(FormatConformance):
    format = "flax-msgpack"
    dtypes = DTYPES

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = folder / "tree.msgpack"
        path.write_bytes(serialization().to_bytes(dict(tensors)))
        return str(path)


def packed(value: Any) -> bytes:
    """`value` by the reference library, without Flax's extensions."""
    found: bytes = pytest.importorskip("msgpack").packb(value)
    return found


@pytest.mark.parametrize("size", [1 << 30, 64])
def test_arrays_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    flax = serialization()
    monkeypatch.setattr(flax, "MAX_CHUNK_SIZE", 64)
    monkeypatch.setattr(writer, "MOST_BYTES", size)
    tree = {"large": counted((5, 9)), "deep": {"small": counted((3,)), "half": counted((7, 11), "float16")}}
    (tmp_path / "a.msgpack").write_bytes(flax.msgpack_serialize(tree))
    assert b"chunked" in (tmp_path / "a.msgpack").read_bytes()
    contents, source = open_contents(tmp_path / "a.msgpack")
    assert {each.key: each.shape for each in contents.tensors} == {
        "large": (5, 9), "deep/small": (3,), "deep/half": (7, 11),
    }  # fmt: skip
    for pieces in (1, 10, 1000):
        assert whole(source, "large", pieces) == raw(tree["large"])
    for start in (0, 63, 64, 65, 179):
        buffer = bytearray(min(70, 180 - start))
        source.read_into("large", start, memoryview(buffer))
        assert buffer == raw(tree["large"])[start : start + len(buffer)]
    source.close()
    for name, call in (("b", ckptkit.convert), ("c", lambda a, b: ckptkit.remap(a, like=a, output=b))):
        call(tmp_path / "a.msgpack", tmp_path / f"{name}.msgpack")
        found = flax.msgpack_restore((tmp_path / f"{name}.msgpack").read_bytes())
        assert np.array_equal(found["large"], tree["large"])
        assert np.array_equal(found["deep"]["half"], tree["deep"]["half"])


def test_what_is_written_is_what_flax_reads(tmp_path: Path) -> None:
    flax = serialization()
    before = flax.msgpack_restore(STATE.read_bytes())
    ckptkit.convert(STATE, tmp_path / "a.msgpack")
    ckptkit.remap(STATE, like=STATE, output=tmp_path / "b.msgpack")
    assert (tmp_path / "b.msgpack").read_bytes() == STATE.read_bytes()
    after = flax.msgpack_restore((tmp_path / "a.msgpack").read_bytes())
    assert np.array_equal(after["params"]["Dense_0"]["half"].view("u2"), before["params"]["Dense_0"]["half"].view("u2"))
    assert np.array_equal(
        after["opt_state"]["0"]["nu"]["Conv_0"]["kernel"], before["opt_state"]["0"]["nu"]["Conv_0"]["kernel"]
    )
    assert ckptkit.diff(STATE, tmp_path / "a.msgpack").verdict == "identical"


@pytest.mark.parametrize("value", [-5, 5, 1 << 40, -(1 << 40), 2.5, True, 3 - 4j])
def test_numbers_and_texts_of_a_template_are_replaced(tmp_path: Path, value: Any) -> None:
    from ckptkit.model import TensorSpec
    from tests.formats.writing import write_like

    flax = serialization()
    tree = {"first": counted((3,)), "value": type(value)(1), "text": "a", "last": counted((2, 2))}
    (tmp_path / "a.msgpack").write_bytes(flax.to_bytes(tree))
    (tmp_path / "b.msgpack").write_bytes(flax.to_bytes({**tree, "value": value, "text": "longer " * 50}))
    contents, source = open_contents(tmp_path / "b.msgpack")
    tensors = {each.key: TensorSpec(each.key, each.shape, each.dtype) for each in contents.tensors}
    write_like("flax-msgpack", tmp_path / "c.msgpack", tmp_path / "a.msgpack", tensors, source)
    source.close()
    found = flax.msgpack_restore((tmp_path / "c.msgpack").read_bytes())
    assert found["value"] == value
    assert type(found["value"]) is type(value)
    assert found["text"] == "longer " * 50
    assert np.array_equal(found["last"], tree["last"])


def test_of_the_steps_in_a_folder_the_newest_is_taken(tmp_path: Path) -> None:
    for step in ("9", "10", "2"):
        (tmp_path / f"checkpoint_{step}").write_bytes(STATE.read_bytes())
    found = locate(tmp_path)
    assert found.at.base == "checkpoint_10"
    assert found.notes == ("newest of 3 steps: checkpoint_10",)


def extension(code: int, value: Any) -> Any:
    msgpack = pytest.importorskip("msgpack")
    return msgpack.ExtType(code, value if isinstance(value, bytes) else packed(value))


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (1, [[2, 3], "float32", bytes(23)]), (1, [[2, 3], "float32", bytes(25)]), (1, [[2, -3], "float32", bytes(24)]),
        (1, [[1 << 40, 1 << 40], "float32", b""]), (1, [[2, 3], "float32"]), (1, [[2, 3], 7, bytes(24)]), (1, {}),
        (1, [[2, 3], "x" * 100, bytes(24)]), (1, [[1] * 65, "float32", bytes(4)]), (1, b"\xc1"), (2, [1.0]), (2, [1.0, "x"]),
        (2, [1.0, 2.0, 3.0]), (3, b"\xff" * 4),
    ],
)  # fmt: skip
def test_extensions_that_are_not_as_flax_writes_them(tmp_path: Path, code: int, value: Any) -> None:
    (tmp_path / "a.msgpack").write_bytes(packed({"w": extension(code, value)}))
    with pytest.raises(CkptkitError) as error:
        whole(open_contents(tmp_path / "a.msgpack")[1], "w")
    check_message(error.value)


def test_what_has_no_name_here_is_listed_with_a_problem(tmp_path: Path) -> None:
    tree = {"a": extension(9, b"abc"), "b": extension(1, [[2], "datetime64", bytes(16)]), "c": 1.5}
    (tmp_path / "a.msgpack").write_bytes(packed(tree))
    contents, source = open_contents(tmp_path / "a.msgpack")
    assert [each.problem is None for each in contents.tensors] == [False, False, True]
    with pytest.raises(UnsupportedError):
        whole(source, "a")
    assert whole(source, "c") == struct.pack("<d", 1.5)
    source.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\xdf\xff\xff\xff\xff\xa1a\x01", b"\x81\xa1a\xdd\xff\xff\xff\xff", b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x82\xa1a\x01\xa1a\x02", b"\x81\xa1a\x01\x00", b"\x81\xa1a", b"\x82\xa1a\x01", b"\x81\xa2a", b"\x81\xa1\xff\x01",
        b"\x81\xa1a\x81\x93\x01\x02\x03\x01",
        b"\x81\xd9\xffa",
    ],
)  # fmt: skip
def test_files_that_are_broken(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.msgpack").write_bytes(data)
    with pytest.raises(FormatError) as error:
        open_contents(tmp_path / "a.msgpack")
    check_message(error.value)


def test_trees_that_are_too_deep(tmp_path: Path) -> None:
    (tmp_path / "a.msgpack").write_bytes(b"\x81\xa1a" * 100_000 + b"\x01")
    with pytest.raises(LimitError):
        open_contents(tmp_path / "a.msgpack")


def test_a_tree_of_every_dtype_goes_through(tmp_path: Path) -> None:
    arrays = {f"of_{name}/kernel": counted((3, 5), name) for name in DTYPES}
    np.savez(tmp_path / "a.npz", **{key: value for key, value in arrays.items() if "bfloat16" not in key})
    ckptkit.convert(tmp_path / "a.npz", tmp_path / "b.msgpack")
    contents, source = open_contents(tmp_path / "b.msgpack")
    for tensor in contents.tensors:
        assert read_tensor(source, tensor).tobytes() == raw(arrays[tensor.key])
        assert dtypes.itemsize(tensor.dtype)
    source.close()
