"""Laws over damaged files: an error, or the same, or a difference that is said; never anything else."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents
from tests.formats.conformance import check_message
from tests.trust.commands import ForkServer, complaints, fork_server
from tests.trust.fuzz import mutate

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

# (fixture, the file that is damaged, what is opened)
FILES = (
    ("safetensors-dtypes", "model.safetensors", "model.safetensors"),
    ("npz-plain", "arrays.npz", "arrays.npz"),
    ("npz-compressed", "arrays.npz", "arrays.npz"),
    ("sonnet2-mlp", "ckpt-1.index", "ckpt-1"),
    ("sonnet2-mlp", "ckpt-1.data-00000-of-00001", "ckpt-1"),
    ("tf1-two-shards-v1", "model.ckpt-00000-of-00002", "model.ckpt-00000-of-00002"),
    ("keras0-weights", "weights.h5", "weights.h5"),
    ("keras30-weights", "model.weights.h5", "model.weights.h5"),
    ("keras2-text-attributes", "model.keras", "model.keras"),
    ("keras215-archive", "model.keras", "model.keras"),
    ("hdf5-plain", "arrays.h5", "arrays.h5"),
)

# Formats that carry a checksum over every tensor: whatever is read is what was written.
CHECKED = {"npz-plain", "npz-compressed", "sonnet2-mlp", "keras215-archive"}

_QUIET = settings(
    max_examples=60, deadline=5000, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Table = dict[str, tuple[tuple[int, ...], str, str]]


def _read(path: str) -> Table | None:
    """What is read of a checkpoint, or None when that is refused."""
    try:
        contents, source = open_contents(path)
    except CkptkitError as error:
        check_message(error)
        return None
    buffer = memoryview(bytearray(1 << 16))
    found: Table = {}
    try:
        for tensor in contents.tensors:
            sha = hashlib.sha256()
            if tensor.dtype == "string":
                sha.update(repr(source.read_strings(tensor.key)).encode())
            else:
                for piece in source.stream(tensor.key, buffer):
                    sha.update(piece)
            found[tensor.key] = (tensor.shape, tensor.dtype, sha.hexdigest())
    except CkptkitError as error:
        check_message(error)
        return None
    finally:
        source.close()
    return found


@_QUIET
@given(data=st.binary(max_size=400))
def test_any_bytes_are_an_error_or_a_map(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert _read(str(path)) in (None, {})


_BEGINNINGS = (
    b"PK\x03\x04", b"PK\x05\x06", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", b"\x93NUMPY\x01\0",
    b"\x02\0\0\0\0\0\0\0{}", b"{", b'{"weight_map": ', b"model_checkpoint_path: ", b"\x89HDF\r\n\x1a\n\x02\x08\x08\0",
)  # fmt: skip
_ENDINGS = (b"", b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", b"PK\x05\x06" + bytes(18))


@_QUIET
@given(begin=st.sampled_from(_BEGINNINGS), data=st.binary(max_size=400), end=st.sampled_from(_ENDINGS))
def test_any_bytes_after_a_known_beginning(tmp_path: Path, begin: bytes, data: bytes, end: bytes) -> None:
    for name in ("file", "file.index", "file.weights.json", "model.safetensors.index.json", "checkpoint"):
        path = tmp_path / name
        path.write_bytes(begin + data + end)
        _read(str(path))
        path.unlink()


@pytest.mark.parametrize(("case", "member", "opened"), FILES)
def test_a_damaged_file_is_refused_or_read_as_some_map(tmp_path: Path, case: str, member: str, opened: str) -> None:
    shutil.copytree(FIXTURES / case, tmp_path, dirs_exist_ok=True)
    original = (tmp_path / member).read_bytes()
    good = _read(str(tmp_path / opened))
    assert good
    rng = random.Random(f"{case} {member}")
    for _ in range(150):
        (tmp_path / member).write_bytes(mutate(original, [original], rng))
        found = _read(str(tmp_path / opened))
        if found is not None and case in CHECKED:
            for key in found.keys() & good.keys():
                if found[key][:2] == good[key][:2]:
                    assert found[key] == good[key], key


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


@pytest.mark.parametrize(("case", "member", "opened"), FILES)
def test_diff_says_every_difference(tmp_path: Path, server: ForkServer, case: str, member: str, opened: str) -> None:
    """Exit code 0 only where the same tensors come with the same bytes; 1 only where something differs."""
    folder = tmp_path / "damaged"
    shutil.copytree(FIXTURES / case, folder)
    original = (folder / member).read_bytes()
    good = _read(str(FIXTURES / case / opened))
    rng = random.Random(f"diff {case} {member}")
    for _ in range(12):
        damaged = mutate(original, [original], rng)
        (folder / member).write_bytes(damaged)
        result = server.run("diff", folder / opened, FIXTURES / case / opened, "--slots", "--json", cwd=tmp_path)
        assert complaints(result, "damaged") == []
        found = _read(str(folder / opened))
        if result.code == 0:
            assert found == good
            assert json.loads(result.stdout)["verdict"] == "identical"
        elif damaged == original:
            assert result.code == 0
