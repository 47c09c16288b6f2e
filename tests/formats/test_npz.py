"""npz: NumPy writes what we read, and reads what we write."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptkit
from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, NotFoundError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.npz.header import MAGIC, header_bytes, parse_header
from ckptkit.model import Contents, TensorSpec
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.writing import write_like, write_new

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip


def _bytes(value: np.ndarray) -> np.ndarray:
    return value.astype("S") if value.dtype == object else value


class TestNpz(FormatConformance):
    format = "npz"
    dtypes = DTYPES
    strings = True
    checksums = True

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = folder / "arrays.npz"
        np.savez(path, **{name: _bytes(value) for name, value in tensors.items()})
        return str(path)


class TestCompressedNpz(FormatConformance):
    format = "npz"
    dtypes = DTYPES
    strings = True

    def make(self, folder: Path, tensors: Tensors) -> str:
        path = folder / "arrays.npz"
        np.savez_compressed(path, **{name: _bytes(value) for name, value in tensors.items()})
        return str(path)


LAYOUTS = {
    "fortran": lambda value: np.asfortranarray(value),
    "big_endian": lambda value: value.astype(value.dtype.newbyteorder(">")),
    "both": lambda value: np.asfortranarray(value.astype(value.dtype.newbyteorder(">"))),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(6,), (5, 1), (1, 7), (4, 5), (3, 4, 5), (2, 3, 4, 5), (0, 3), (), (700, 1501), (600000, 2)]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_layouts(tmp_path: Path, layout: str, shape: tuple[int, ...], compressed: bool) -> None:
    value = counted(shape)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", value=LAYOUTS[layout](value))
    _, source = open_contents(str(tmp_path / "a.npz"))
    assert whole(source, "value", 100_003) == raw(value)
    if value.nbytes > 8:
        buffer = bytearray(5)
        source.read_into("value", value.nbytes - 7, memoryview(buffer))
        assert buffer == raw(value)[-7:-2]
    source.close()


def test_several_large_copies_are_given_up_in_turn(tmp_path: Path) -> None:
    arrays = {f"v{number}": counted((1060, 1000), "float64", start=number) for number in range(3)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    _, source = open_contents(str(tmp_path / "a.npz"))
    for name in [*arrays, *reversed(arrays)]:
        assert whole(source, name) == raw(arrays[name])
    source.close()


def test_text_becomes_utf8(tmp_path: Path) -> None:
    words = [["ü", "xyz"], ["", "q\0r"]]
    np.savez(tmp_path / "a.npz", little=np.array(words, "<U5"), big=np.array(words, ">U5"))
    _, source = open_contents(str(tmp_path / "a.npz"))
    for key in ("little", "big"):
        assert source.read_strings(key) == ["ü".encode(), b"xyz", b"", b"q\0r"]
    source.close()


UNREADABLE = {
    "objects": (np.array([{}, 1], dtype=object), "pickled"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "no name"),
    "records": (np.zeros(3, dtype=[("a", "i4"), ("b", "f4")]), "no name"),
    "raw": (np.zeros(3, "V2"), "does not store which"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_lists_what_cannot_be_read_and_never_unpickles(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, reason = UNREADABLE[kind]
    np.savez(tmp_path / "a.npz", odd=value, good=counted((2, 3)))
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("unpickled"))
    monkeypatch.setattr("pickle.loads", lambda *_: pytest.fail("unpickled"))
    contents, source = open_contents(str(tmp_path / "a.npz"))
    listed = {tensor.key: tensor for tensor in contents.tensors}
    assert reason in str(listed["odd"].problem)
    assert listed["odd"].shape == value.shape
    for read in (lambda: whole(source, "odd"), lambda: source.read_strings("odd")):
        with pytest.raises(UnsupportedError, match=reason):
            read()
    assert whole(source, "good") == raw(counted((2, 3)))
    source.close()


def test_other_members_are_noted(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", value=counted((3,)))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    contents, source = open_contents(str(tmp_path / "a.npz"))
    source.close()
    assert [tensor.key for tensor in contents.tensors] == ["value"]
    assert contents.notes == ("1 members that are no arrays are not shown",)


class TestHeader:
    @pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (10**6,) * 3, tuple(range(1, 33))])
    @pytest.mark.parametrize("descr", ["<f4", "|b1", ">c16", "|S7", "<U3", "|O"])
    def test_numpy_writes_what_is_parsed(self, shape: tuple[int, ...], descr: str) -> None:
        import io

        for fortran in (False, True):
            out = io.BytesIO()
            header = {"descr": descr, "fortran_order": fortran, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            found = parse_header(out.getvalue(), path="p", key="k")
            assert (found.descr, found.shape, found.fortran, found.data) == (descr, shape, fortran, out.tell())

    @pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
    def test_numpy_parses_what_is_written(self, shape: tuple[int, ...]) -> None:
        import io

        written = header_bytes("<f4", shape)
        stream = io.BytesIO(written)
        assert np.lib.format.read_magic(stream) == (1, 0)
        assert np.lib.format.read_array_header_1_0(stream) == (shape, False, np.dtype("<f4"))
        assert len(written) % 64 == 0

    @pytest.mark.parametrize(
        "literal",
        [
            "", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (4,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}",
            "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1,' * 65})}}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} + [0]",
            "(" * 5000, "-" * 9000, "{'descr': " + "[" * 8000,
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, literal: str) -> None:
        raw_header = literal.encode()
        head = MAGIC + b"\x01\0" + len(raw_header).to_bytes(2, "little") + raw_header
        with pytest.raises(FormatError, match="not one of NumPy's"):
            parse_header(head, path="p", key="k")

    def test_long_headers_are_refused(self) -> None:
        with pytest.raises(LimitError):
            parse_header(MAGIC + b"\x02\0" + (1 << 30).to_bytes(4, "little") + b"x" * 100, path="p", key="k")

    @pytest.mark.parametrize(
        "head", [b"", b"\x93NUMP", MAGIC, MAGIC + b"\x04\0\x10\0" + b" " * 16, MAGIC + b"\x01\0\xff"]
    )
    def test_other_beginnings_are_refused(self, head: bytes) -> None:
        with pytest.raises(FormatError):
            parse_header(head, path="p", key="k")


class TestWriting:
    def test_numpy_reads_what_is_written(self, tmp_path: Path) -> None:
        arrays = {f"of/{dtype}": counted((2, size), dtype) for size, dtype in enumerate(DTYPES, 3)}
        arrays |= {"scalar": counted(()), "empty": counted((0, 3)), "/ünï": counted((4,)), "s": np.array([b"ab", b""])}
        np.savez_compressed(tmp_path / "a.npz", **arrays)
        contents, source = open_contents(str(tmp_path / "a.npz"))
        write_new("npz", str(tmp_path / "b.npz"), contents, source)
        source.close()
        with np.load(tmp_path / "b.npz") as found:
            assert found.files == list(arrays)
            for name, value in arrays.items():
                assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
                assert found[name].tobytes() == value.tobytes()

    def test_equal_content_gives_equal_files(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", a=counted((3,)), b=counted((4,)))
        contents, source = open_contents(str(tmp_path / "a.npz"))
        for name in ("b.npz", "c.npz"):
            write_new("npz", str(tmp_path / name), contents, source)
        source.close()
        assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()

    def test_dtypes_that_numpy_has_not_come_back(self, tmp_path: Path) -> None:
        import ml_dtypes

        save_file({"half": counted((2, 3), "bfloat16")}, tmp_path / "a.safetensors")
        contents, source = open_contents(str(tmp_path / "a.safetensors"))
        write_new("npz", str(tmp_path / "b.npz"), contents, source)
        source.close()
        with np.load(tmp_path / "b.npz") as found:
            assert found["half"].view(ml_dtypes.bfloat16).tolist() == counted((2, 3), "bfloat16").tolist()
        again, source = open_contents(str(tmp_path / "b.npz"))
        source.close()
        assert again.tensors == contents.tensors

    def test_strings_that_numpy_would_cut_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", s=np.array([b"a"]))
        contents, source = open_contents(str(tmp_path / "a.npz"))
        source.read_strings = lambda key: [b"a\0"]  # type: ignore[method-assign]
        with pytest.raises(UnsupportedError, match="NUL"):
            write_new("npz", str(tmp_path / "b.npz"), contents, source)
        source.close()

    @pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 70_000])
    def test_names_that_zip_cannot_hold_are_refused(self, tmp_path: Path, name: str) -> None:
        np.savez(tmp_path / "a.npz", a=counted((3,)))
        contents, source = open_contents(str(tmp_path / "a.npz"))

        class Renamed:
            def stream(self, key: str, buffer: memoryview) -> object:
                return source.stream("a", buffer)

        tensor = contents.tensors[0]
        renamed = type(tensor)(name, tensor.shape, tensor.dtype, tensor.nbytes)
        with pytest.raises(UnsupportedError, match="name"):
            write_new("npz", str(tmp_path / "b.npz"), Contents("npz", None, (renamed,)), Renamed())  # type: ignore[arg-type]
        source.close()

    def test_rewriting_keeps_order_compression_and_the_rest(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "old.npz", a=counted((200, 3)), b=counted((4,)), o=np.array([{}], dtype=object))
        np.savez(tmp_path / "other.npz", b=counted((4,), start=90))
        _, source = open_contents(str(tmp_path / "other.npz"))
        new = str(tmp_path / "new.npz")
        write_like("npz", new, str(tmp_path / "old.npz"), {"b": TensorSpec("b", (4,), "float32")}, source)
        with pytest.raises(NotFoundError):
            write_like("npz", new, str(tmp_path / "old.npz"), {"z": TensorSpec("z", (4,), "float32")}, source)
        source.close()
        write_like("npz", new, str(tmp_path / "old.npz"), {}, source)
        with zipfile.ZipFile(tmp_path / "old.npz") as old, zipfile.ZipFile(new) as archive:
            assert [(i.filename, i.compress_type) for i in archive.infolist()] == [
                (i.filename, i.compress_type) for i in old.infolist()
            ]
            assert all(archive.read(name) == old.read(name) for name in ("a.npy", "o.npy"))


def test_a_flipped_bit_in_a_compressed_member_is_found(tmp_path: Path) -> None:
    value = np.random.default_rng(0).random((50, 50))
    np.savez_compressed(tmp_path / "a.npz", value=value)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b.npz").write_bytes(data)
    _, source = open_contents(str(tmp_path / "b.npz"))
    with pytest.raises((ChecksumError, FormatError)):
        whole(source, "value")
    source.close()


@pytest.mark.parametrize("odd", ["bfloat16", "object", "record"])
def test_an_array_that_cannot_be_read_is_a_weight_that_counts(tmp_path: Path, odd: str) -> None:
    """What NumPy keeps no dtype for (`|V2`), records and objects may be weights: nothing leaves them behind unsaid."""
    values: dict[str, np.ndarray] = {
        "bfloat16": np.arange(12, dtype=np.uint16).reshape(3, 4).view("V2"),
        "object": np.array([np.ones(3), np.ones(4)], dtype=object),
        "record": np.zeros(4, [("w", "f4", (3,)), ("b", "f4")]),
    }
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **{"net/kernel": values[odd], "head/kernel": counted((3, 2))})
    paths = str(tmp_path / "a.npz"), str(tmp_path / "b.npz")
    with ckptkit.open(paths[0]) as opened:
        assert opened.find("net/kernel").kind == "weight"
        assert opened.find("net/kernel").problem
    with pytest.raises(CkptkitError):
        ckptkit.diff(*paths)
    with pytest.raises(CkptkitError):
        ckptkit.plan(*paths).apply(tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()
