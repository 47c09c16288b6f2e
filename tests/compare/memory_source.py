"""A `TensorSource` over arrays in memory, with the faults that a test asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ckptkit.compare import Comparison, Tolerance, compare_tensors
from ckptkit.errors import ChecksumError
from ckptkit.model import TensorSpec
from tests.arrays import canonical_name


class MemorySource:
    """Serves `arrays` by name.

    Args:
        arrays: name -> value, of `object` items (`bytes`) for strings.
        cut: size of the pieces that `stream` gives, whatever the buffer's; None fills the buffer.
        damaged: names whose checksum does not hold, which `stream` finds out at its end.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], cut: int | None = None, damaged: tuple[str, ...] = ()) -> None:
        self.arrays = dict(arrays)
        self._cut = cut
        self._damaged = damaged
        self.streamed: list[str] = []

    def spec(self, name: str) -> TensorSpec:
        """Name, shape and canonical dtype of one of the arrays."""
        value = self.arrays[name]
        return TensorSpec(name, value.shape, canonical_name(value.dtype))

    def _bytes(self, key: str) -> memoryview:
        value = np.ascontiguousarray(self.arrays[key])
        return memoryview(value.reshape(-1).view(np.uint8)) if value.size else memoryview(b"")

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._bytes(key)[offset : offset + len(buffer)]

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        self.streamed.append(key)
        data = self._bytes(key)
        step = min(len(buffer), self._cut or len(buffer))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            buffer[: len(piece)] = piece
            yield buffer[: len(piece)]
        if key in self._damaged:
            raise ChecksumError("the bytes do not match their checksum", path="memory", key=key)

    def read_strings(self, key: str) -> list[bytes]:
        return [bytes(item) for item in self.arrays[key].reshape(-1)]

    def close(self) -> None:
        self.arrays.clear()


def compare_in_memory(
    a: np.ndarray, b: np.ndarray, tolerance: Tolerance, cut_a: int | None = None, cut_b: int | None = None
) -> Comparison:
    """`compare_tensors` over two arrays, whose streams come in pieces of the given sizes."""
    one, other = MemorySource({"t": a}, cut_a), MemorySource({"t": b}, cut_b)
    return compare_tensors(one, one.spec("t"), other, other.spec("t"), tolerance)
