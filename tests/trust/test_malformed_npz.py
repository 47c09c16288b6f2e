"""npz archives that lie: nothing is unpickled, evaluated, or allocated because a header says so."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats import open_contents
from ckptkit.formats.npz.header import MAGIC
from ckptkit.formats.npz.reader import open_npz
from ckptkit.storage.address import address
from tests.formats.conformance import whole


def _npy(literal: str, data: bytes, *, version: bytes = b"\x01\0") -> bytes:
    text = literal.encode() + b"\n"
    return MAGIC + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


def _literal(descr: str = "'<f4'", fortran: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def _archive(folder: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "m.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def _open(path: Path) -> None:
    storage = address(path).open()
    try:
        open_npz(storage)
    finally:
        storage.close()


FLOATS = np.arange(3, dtype="<f4").tobytes()

REFUSED = {
    "fewer bytes than the shape needs": _npy(_literal(shape="(4,)"), FLOATS),
    "more bytes than the shape needs": _npy(_literal(shape="(2,)"), FLOATS),
    "an exabyte": _npy(_literal(shape="(1152921504606846976,)"), FLOATS),
    "a product that overflows to what fits": _npy(_literal(shape="(4611686018427387904, 4, 3)"), FLOATS),
    "a negative dimension": _npy(_literal(shape="(-3,)"), FLOATS),
    "two negative dimensions": _npy(_literal(shape="(-1, -3)"), FLOATS),
    "a dimension that is a call": _npy(_literal(shape="(len('abc'),)"), FLOATS),
    "a header that is code": _npy("__import__('os').system('touch HOSTILE')", FLOATS),
    "code as the dtype": _npy(_literal(descr="open('HOSTILE', 'w')"), FLOATS),
    "an empty header": _npy("", FLOATS),
    "a header that is cut short": MAGIC + b"\x01\0\xff\xff{",
    "an unknown version": _npy(_literal(), FLOATS, version=b"\x09\0"),
    "no array": b"just some text",
    "nothing": b"",
    "only the magic": MAGIC,
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path: Path, kind: str, method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _archive(tmp_path, ("a.npy", REFUSED[kind]), method=method)
    with pytest.raises((FormatError, LimitError)) as caught:
        _open(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    assert not (tmp_path / "HOSTILE").exists()


class _Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("HOSTILE", "w"))


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(np.array([_Payload()], dtype=object))
    path = _archive(
        tmp_path,
        ("objects.npy", _npy(_literal(descr="'|O'", shape="(1,)"), payload)),
        ("inside.npy", _npy(_literal(descr="[('a', '|O'), ('b', '<f4')]", shape="(1,)"), payload)),
        ("raw.pkl", payload),
    )
    contents, source = open_contents(str(path))
    assert {tensor.key for tensor in contents.tensors} == {"objects", "inside"}
    for tensor in contents.tensors:
        assert "pickled" in str(tensor.problem)
        with pytest.raises(UnsupportedError):
            whole(source, tensor.key)
        with pytest.raises(UnsupportedError):
            source.read_strings(tensor.key)
        with pytest.raises(UnsupportedError):
            source.read_into(tensor.key, 0, memoryview(bytearray(1)))
    source.close()
    assert not (tmp_path / "HOSTILE").exists()


def test_two_members_for_one_array(tmp_path: Path) -> None:
    array = _npy(_literal(), FLOATS)
    with pytest.raises(FormatError, match="one array"):
        _open(_archive(tmp_path, ("a.npy", array), ("a", array)))


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no NumPy arrays"):
        _open(_archive(tmp_path, ("archive/data.pkl", b"\x80\x02}"), ("archive/version", b"3\n")))


def test_bombs_are_judged_on_their_sum(tmp_path: Path) -> None:
    """Twenty members of 40 MiB that deflate to nothing: each harmless, together not."""
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        data = _npy(_literal(shape=f"({10 << 20},)"), bytes(40 << 20))
        for number in range(14):
            archive.writestr(f"a{number}.npy", data)
    tracemalloc.start()
    with pytest.raises(LimitError, match="inflate to too much"):
        _open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_listing_inflates_only_headers(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, **{f"a{number}": np.zeros(4 << 20, "float32") for number in range(4)})
    tracemalloc.start()
    _open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_strings_of_no_length_are_counted_before_they_are_made(tmp_path: Path) -> None:
    path = _archive(tmp_path, ("s.npy", _npy(_literal(descr="'|S0'", shape="(1000000000000,)"), b"")))
    _, source = open_contents(str(path))
    with pytest.raises(LimitError):
        source.read_strings("s")
    source.close()


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    data = (0x110000).to_bytes(4, "little")
    path = _archive(tmp_path, ("s.npy", _npy(_literal(descr="'<U1'", shape="(1,)"), data)))
    _, source = open_contents(str(path))
    with pytest.raises(FormatError, match="Unicode"):
        source.read_strings("s")
    source.close()


def test_fortran_rows_beyond_the_memory(tmp_path: Path) -> None:
    value = np.asfortranarray(np.zeros((2, 9 << 20), "float32"))
    np.savez(tmp_path / "m.npz", value=value)
    _, source = open_contents(str(tmp_path / "m.npz"))
    with pytest.raises(LimitError, match="Fortran"):
        whole(source, "value")
    source.close()


@pytest.mark.parametrize("shape", ["(0, 9223372036854775807)", "(9223372036854775807, 0, 3)"])
def test_empty_arrays_of_huge_dimensions(tmp_path: Path, shape: str) -> None:
    for fortran in ("True", "False"):
        path = _archive(tmp_path, ("a.npy", _npy(_literal(shape=shape, fortran=fortran), b"")))
        contents, source = open_contents(str(path))
        assert contents.tensors[0].nbytes == 0
        assert whole(source, "a") == b""
        source.close()


def test_a_comment_that_names_another_dtype(tmp_path: Path) -> None:
    """It may say which dtype raw items are of, never how many bytes there are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, comment in (
            ("fits", b"bfloat16"),
            ("too_wide", b"float64"),
            ("unknown", b"os.system"),
            ("none", b""),
        ):
            info = zipfile.ZipInfo(f"{name}.npy")
            info.comment = comment
            archive.writestr(info, _npy(_literal(descr="'|V2'"), bytes(6)))
    path = tmp_path / "m.npz"
    path.write_bytes(out.getvalue())
    contents, source = open_contents(str(path))
    source.close()
    found = {tensor.key: (tensor.dtype, tensor.problem is None) for tensor in contents.tensors}
    assert found["fits"] == ("bfloat16", True)
    assert all(found[name] == ("uint8", False) for name in ("too_wide", "unknown", "none"))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(17), b"PK\x05\x06" * 2000])
def test_beginnings_of_archives(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(CkptkitError):
        open_contents(str(path))
