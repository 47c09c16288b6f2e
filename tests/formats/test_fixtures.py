"""Every shipped fixture reads as the format's own reader reads it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ckptkit.formats import open_contents
from ckptkit.formats.registry import FORMATS
from ckptkit.model import CHUNK_BYTES

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
MANIFEST = json.loads((FIXTURES / "MANIFEST.json").read_text())
CASES = {line["case"]: line for line in MANIFEST["fixtures"]}

Table = dict[str, tuple[list[int], str, str | None]]


def opened(case: str) -> str:
    """The path that a person would give for `case`."""
    return str(FIXTURES / case / CASES[case]["open"]) if CASES[case]["open"] else str(FIXTURES / case)


def expected(case: str) -> Table:
    """Key -> shape, dtype and hash, by the format's own reader."""
    variables: list[dict[str, Any]] = json.loads((FIXTURES / case / "expected.json").read_text())["variables"]
    return {line["key"]: (line["shape"], line["dtype"], line["sha256"]) for line in variables}


def read(path: str) -> Table:
    """The same by ckptkit, with every tensor streamed."""
    contents, source = open_contents(path)
    try:
        found: Table = {}
        buffer = memoryview(bytearray(CHUNK_BYTES))
        for tensor in contents.tensors:
            assert tensor.problem is None, (tensor.key, tensor.problem)
            digest = None
            if tensor.dtype == "string":
                assert all(isinstance(item, bytes) for item in source.read_strings(tensor.key))
            else:
                sha = hashlib.sha256()
                for piece in source.stream(tensor.key, buffer):
                    sha.update(piece)
                digest = sha.hexdigest()
            assert tensor.key not in found
            found[tensor.key] = (list(tensor.shape), tensor.dtype, digest)
        return found
    finally:
        source.close()


@pytest.mark.parametrize("case", CASES)
def test_reads_as_its_own_reader_does(case: str) -> None:
    assert read(opened(case)) == expected(case)


@pytest.mark.parametrize("case", CASES)
def test_format_is_recognised(case: str) -> None:
    contents, source = open_contents(opened(case))
    source.close()
    assert contents.format == CASES[case]["format"]
    assert contents.damage == ()


def test_manifest_lists_what_is_there() -> None:
    folders = {path.name for path in FIXTURES.iterdir() if path.is_dir()} - {"makers", "__pycache__"}
    assert folders == CASES.keys()
    for case, line in CASES.items():
        files = [path for path in (FIXTURES / case).rglob("*") if path.is_file() and path.name != "expected.json"]
        assert {path.relative_to(FIXTURES / case).as_posix(): path.stat().st_size for path in files} == line["files"]


def test_fixtures_are_small() -> None:
    sizes = [size for line in CASES.values() for size in line["files"].values()]
    assert max(sizes) < 400_000
    assert sum(sizes) < 5_000_000


def test_every_format_has_a_fixture() -> None:
    assert {line["format"] for line in CASES.values()} == {row.name for row in FORMATS}
