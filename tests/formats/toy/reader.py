"""Reading toys."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from ckptkit.model import Contents, StoredTensor, TensorSource
from ckptkit.storage.address import Address
from ckptkit.storage.bytes import Storage, read


def files(path: Address) -> tuple[Address, ...]:
    return (path,)


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    return path.read_with(_open)


def _open(storage: Storage) -> tuple[Contents, TensorSource]:
    head, _, _ = bytes(read(storage, 4, storage.size - 4)).partition(b"\n")
    at, places, tensors = 5 + len(head), {}, []
    for key, shape in json.loads(head).items():
        nbytes = 4 * math.prod(shape)
        tensors.append(StoredTensor(key, tuple(shape), "float32", nbytes))
        places[key] = at, nbytes
        at += nbytes
    return Contents("toy", None, tuple(tensors)), _Source(storage, places)


class _Source:
    def __init__(self, storage: Storage, places: dict[str, tuple[int, int]]) -> None:
        self._storage, self._places = storage, places

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        self._storage.read_into(self._places[key][0] + offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        return self._storage.stream(*self._places[key], buffer)

    def read_strings(self, key: str) -> list[bytes]:
        raise AssertionError(key)

    def close(self) -> None:
        self._storage.close()
