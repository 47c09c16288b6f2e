"""Files of this machine: small reads that follow each other are served from one that looks ahead."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ckptkit.errors import FormatError
from ckptkit.storage.local import LocalStorage


def read(storage: LocalStorage, offset: int, length: int) -> bytes:
    data = bytearray(length)
    storage.read_into(offset, memoryview(data))
    return bytes(data)


def test_reads_of_any_size_and_order_give_the_bytes_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    content = rng.bytes(300_001)
    path = tmp_path / "file"
    path.write_bytes(content)
    with closing(LocalStorage(path)) as storage:
        at = 0
        for number in range(3000):
            length = int(rng.integers(0, 3000 if number % 50 == 0 else 200))
            jump = int(rng.integers(0, len(content))) if number % 97 == 0 else at + int(rng.integers(0, 9))
            offset = jump if jump + length <= len(content) else 0
            assert read(storage, offset, length) == content[offset : offset + length]
            at = offset + length


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="reads are counted where they are made by preadv")
def test_neighbours_are_read_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 256)
    calls: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(offset)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    with closing(LocalStorage(path)) as storage:
        for offset in range(0, 1 << 16, 32):
            assert read(storage, offset, 32)[0] == offset % 256
    assert len(calls) <= 3


def test_the_end_is_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with closing(LocalStorage(path)) as storage:
        assert read(storage, 10, 40) + read(storage, 50, 50) == bytes(90)
        with pytest.raises(FormatError, match="cut short"):
            read(storage, 90, 11)
        os.truncate(path, 10)
        with pytest.raises(FormatError, match="shorter"):
            read(storage, 0, 20)
