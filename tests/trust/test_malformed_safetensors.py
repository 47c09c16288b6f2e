"""safetensors headers that lie: each is refused, before anything is allocated."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError, safe_open

from ckptkit.errors import CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats.safetensors.reader import open_safetensors
from ckptkit.storage.address import address

DATA = bytes(range(24))


def _write(folder: Path, header: Any, data: bytes = DATA, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "m.safetensors"
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _open(path: Path) -> None:
    storage = address(path).open()
    try:
        open_safetensors(storage)
    finally:
        storage.close()


def _tensor(start: int, end: int, shape: Any = None, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


REFUSED: dict[str, Any] = {
    "a list": [],
    "a number": b"7",
    "nothing": b"",
    "text that is no JSON": b"{nonsense}",
    "not UTF-8": b'{"\xff": 1}',
    "blanks before": b'  {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}',
    "NaN": b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 24]}}',
    "a tensor that is a list": {"a": []},
    "a tensor that is null": {"a": None},
    "no dtype": {"a": {"shape": [6], "data_offsets": [0, 24]}},
    "one more field": {"a": {**_tensor(0, 24), "strides": [1]}},
    "a dtype that is a number": {"a": _tensor(0, 24, dtype=7)},
    "a dtype that is a list": {"a": _tensor(0, 24, dtype=["F32"])},
    "a shape that is a number": {"a": _tensor(0, 24, shape=6)},
    "a shape of texts": {"a": _tensor(0, 24, shape=["6"])},
    "a shape of booleans": {"a": _tensor(0, 4, shape=[True])},
    "a shape of fractions": {"a": _tensor(0, 24, shape=[6.0])},
    "a negative dimension": {"a": _tensor(0, 24, shape=[-6])},
    "two negative dimensions": {"a": _tensor(0, 24, shape=[-2, -3])},
    "a product that overflows to what fits": {"a": _tensor(0, 24, shape=[1 << 62, 4, 6])},
    "a dimension beyond 64 bits": {"a": _tensor(0, 0, shape=[0, 1 << 64])},
    "more dimensions than arrays have": {"a": _tensor(0, 24, shape=[1] * 64 + [6])},
    "three offsets": {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24, 24]}},
    "negative offsets": {"a": {"dtype": "F32", "shape": [6], "data_offsets": [-24, 0]}},
    "offsets the wrong way round": {"a": {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]}},
    "offsets beyond the file": {"a": _tensor(0, 48)},
    "a petabyte": {"a": _tensor(0, 1 << 50)},
    "offsets that overflow": {"a": {"dtype": "F32", "shape": [6], "data_offsets": [(1 << 64) - 24, 1 << 64]}},
    "a hole at the start": {"a": _tensor(4, 24)},
    "a hole between": {"a": _tensor(0, 8), "b": _tensor(12, 24)},
    "bytes left over": {"a": _tensor(0, 20)},
    "no tensors over bytes": {},
    "shared bytes": {"a": _tensor(0, 16), "b": _tensor(12, 24)},
    "the same bytes": {"a": _tensor(0, 24), "b": _tensor(0, 24)},
    "a shape that needs more": {"a": _tensor(0, 24, shape=[7])},
    "an empty shape over more": {"a": _tensor(0, 24, shape=[])},
    "one name twice": b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},'
    b'"a":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}',
    "metadata twice": b'{"__metadata__":{},"__metadata__":{},"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}',
    "metadata of numbers": {"__metadata__": {"a": 1}, "a": _tensor(0, 24)},
    "metadata that are a list": {"__metadata__": [], "a": _tensor(0, 24)},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path: Path, kind: str) -> None:
    path = _write(tmp_path, REFUSED[kind])
    with pytest.raises(CkptkitError) as caught:
        _open(path)
    assert isinstance(caught.value, (FormatError, UnsupportedError))
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# What the reference library takes and we do not, each with the reason.
STRICTER = {
    "blanks before": "the format's description demands `{` as the first byte",
    "one more field": "nobody knows what it would mean",
    "more dimensions than arrays have": "no array could hold it",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_reference_refuses_it_as_well(tmp_path: Path, kind: str) -> None:
    path = _write(tmp_path, REFUSED[kind])
    try:
        with safe_open(path, "np") as file:
            file.keys()
        accepted = True
    except (SafetensorError, ValueError):
        accepted = False
    assert accepted == (kind in STRICTER)


@pytest.mark.parametrize("size", range(9))
def test_files_shorter_than_a_header(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(bytes(size))
    with pytest.raises(FormatError):
        _open(path)


@pytest.mark.parametrize("length", [0, 1, 1 << 31, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_header_lengths(tmp_path: Path, length: int) -> None:
    path = _write(tmp_path, {"a": _tensor(0, 24)}, length=length)
    with pytest.raises(FormatError):
        _open(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":{"shape":' + b"[" * 50_000])
def test_nesting(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(FormatError):
        _open(_write(tmp_path, text))


def test_long_numbers(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        _open(_write(tmp_path, b'{"a":{"dtype":"F32","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,24]}}'))


@pytest.mark.parametrize("unit", [b"[],", b'{"":[]},', b"{},"])
def test_headers_made_to_fill_the_memory(tmp_path: Path, unit: bytes) -> None:
    text = b'{"a":[' + unit * ((20 << 20) // len(unit)) + b"0]}"
    path = _write(tmp_path, text)
    tracemalloc.start()
    with pytest.raises((LimitError, FormatError)):
        _open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 << 20


def test_a_header_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write((40 << 20).to_bytes(8, "little") + b"{")
        file.truncate((40 << 20) + 8)
    with pytest.raises(LimitError):
        _open(path)


def test_many_tensors_are_no_attack(tmp_path: Path) -> None:
    header = {f"layer_{number}/kernel": _tensor(4 * number, 4 * number + 4) for number in range(30_000)}
    storage = address(_write(tmp_path, header, bytes(4 * 30_000))).open()
    contents, source = open_safetensors(storage)
    source.close()
    assert len(contents.tensors) == 30_000
