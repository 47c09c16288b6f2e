"""safetensors: the reference library writes what we read, and reads what we write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ckptkit import dtypes
from ckptkit.errors import CkptkitError, FormatError, MissingDependencyError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.model import TensorSpec
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.writing import write_like, write_new

# What the library's NumPy side both writes and reads; complex and the float8s it knows in other frameworks only.
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16",
)  # fmt: skip


class TestSafetensors(FormatConformance):
    format = "safetensors"
    dtypes = DTYPES

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = str(folder / "file.safetensors")
        save_file({name: np.ascontiguousarray(value).reshape(value.shape) for name, value in tensors.items()}, path)
        return path


def _sample() -> dict[str, np.ndarray]:
    return {f"of/{dtype}": counted((2, size), dtype, start=size) for size, dtype in enumerate(DTYPES, 3)} | {
        "scalar": counted(()), "empty": counted((0, 3)), "ünï": counted((4,)),
    }  # fmt: skip


def test_library_reads_what_is_written(tmp_path: Path) -> None:
    tensors = _sample()
    save_file(tensors, tmp_path / "a.safetensors")
    contents, source = open_contents(str(tmp_path / "a.safetensors"))
    write_new("safetensors", str(tmp_path / "b.safetensors"), contents, source)
    source.close()
    found = load_file(tmp_path / "b.safetensors")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (value.dtype, value.shape, raw(value))


def test_written_tensors_are_aligned_and_listed_in_order(tmp_path: Path) -> None:
    tensors = {"small": counted((3,), "uint8"), "large": counted((2,), "float64"), "middle": counted((5,), "float16")}
    save_file(tensors, tmp_path / "a.safetensors")
    contents, source = open_contents(str(tmp_path / "a.safetensors"))
    path = tmp_path / "b.safetensors"
    write_new("safetensors", str(path), contents, source)
    source.close()
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == [tensor.key for tensor in contents.tensors]
    for name, value in tensors.items():
        assert header[name]["data_offsets"][0] % value.dtype.itemsize == 0


def test_rewriting_keeps_metadata_order_and_the_rest(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old.safetensors"), str(tmp_path / "new.safetensors")
    save_file({"a": counted((2, 3)), "b": counted((4,)), "c": counted((5,), "int64")}, old, metadata={"who": "me"})
    save_file({"b": counted((4,), start=90)}, tmp_path / "other.safetensors")
    _, source = open_contents(str(tmp_path / "other.safetensors"))
    write_like("safetensors", new, old, {"b": TensorSpec("b", (4,), "float32")}, source)
    with pytest.raises(NotFoundError, match="no such tensor"):
        write_like("safetensors", new, old, {"z": TensorSpec("z", (4,), "float32")}, source)
    source.close()
    found = load_file(new)
    assert found["b"].tolist() == [90, 91, 92, 93]
    assert found["a"].tolist() == counted((2, 3)).tolist()
    before, after = (json.loads(Path(path).read_bytes()[8:].split(b"}}")[0] + b"}}") for path in (old, new))
    assert list(before) == list(after)
    assert after["__metadata__"] == {"who": "me"}


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wide=np.zeros(3, "complex128"))
    contents, source = open_contents(str(tmp_path / "a.npz"))
    with pytest.raises(UnsupportedError, match="cannot hold"):
        write_new("safetensors", str(tmp_path / "b.safetensors"), contents, source)
    source.close()


def known(dtype: str) -> bool:
    """Whether the `ml_dtypes` that is installed has it: one from before 0.5 lacks some, and is said to."""
    try:
        dtypes.numpy_dtype(dtype)
    except MissingDependencyError as error:
        assert "pip install" in str(error)
        return False
    return True


def test_every_dtype_of_the_table_round_trips(tmp_path: Path) -> None:
    """The header's names for float8 and complex, which the library's NumPy side does not write."""
    rows = [row for row in dtypes.TABLE if row.safetensors and known(row.name)]
    header: dict[str, Any] = {}
    data = b""
    for row in rows:
        value = counted((2, 3), row.name).tobytes()
        header[row.name] = {
            "dtype": row.safetensors, "shape": [2, 3], "data_offsets": [len(data), len(data) + len(value)]
        }  # fmt: skip
        data += value
    path = _write(tmp_path, json.dumps(header).encode(), data)
    contents, source = open_contents(path)
    assert [tensor.dtype for tensor in contents.tensors] == [row.name for row in rows]
    write_new("safetensors", str(tmp_path / "copy.safetensors"), contents, source)
    copied, copy = open_contents(str(tmp_path / "copy.safetensors"))
    assert copied.tensors == contents.tensors
    for row in rows:
        assert whole(copy, row.name) == whole(source, row.name) == counted((2, 3), row.name).tobytes()
    source.close()
    copy.close()


def _write(folder: Path, header: bytes, data: bytes, length: int | None = None) -> str:
    path = folder / "m.safetensors"
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    return str(path)


def _index(folder: Path, **weight_map: Any) -> str:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return str(path)


class TestIndex:
    def test_reads_all_shards_in_the_order_of_the_index(self, tmp_path: Path) -> None:
        tensors = {"a": counted((3,)), "b": counted((4,)), "c": counted((5,))}
        save_file({"a": tensors["a"], "c": tensors["c"]}, tmp_path / "one.safetensors")
        save_file({"b": tensors["b"]}, tmp_path / "two.safetensors")
        contents, source = open_contents(
            _index(tmp_path, c="one.safetensors", b="two.safetensors", a="one.safetensors")
        )
        assert [tensor.key for tensor in contents.tensors] == ["c", "b", "a"]
        assert all(whole(source, name) == raw(value) for name, value in tensors.items())
        source.close()

    def test_a_missing_shard(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"gone\.safetensors"):
            open_contents(_index(tmp_path, a="gone.safetensors"))

    def test_a_tensor_that_the_shard_does_not_hold(self, tmp_path: Path) -> None:
        save_file({"a": counted((3,))}, tmp_path / "one.safetensors")
        with pytest.raises(FormatError, match="does not hold"):
            open_contents(_index(tmp_path, a="one.safetensors", b="one.safetensors"))

    def test_a_tensor_that_the_index_does_not_list(self, tmp_path: Path) -> None:
        save_file({"a": counted((3,)), "b": counted((2,))}, tmp_path / "one.safetensors")
        with pytest.raises(FormatError, match="does not list"):
            open_contents(_index(tmp_path, a="one.safetensors"))

    @pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b", "", "..", ".", "a\\b", "a\0b", 7, None])
    def test_a_name_that_leads_elsewhere(self, tmp_path: Path, name: object) -> None:
        with pytest.raises(CkptkitError, match="not that of a file beside"):
            open_contents(_index(tmp_path, a=name))

    @pytest.mark.parametrize("document", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1', "nonsense"])
    def test_an_index_that_is_none(self, tmp_path: Path, document: str) -> None:
        path = tmp_path / "model.safetensors.index.json"
        path.write_text(document)
        with pytest.raises(CkptkitError):
            open_contents(str(path))
