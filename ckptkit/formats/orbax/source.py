"""The tensors of an Orbax item, streamed."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, NotFoundError, UnsupportedError, UsageError
from ckptkit.formats.orbax.arrays import StoredArray
from ckptkit.formats.orbax.chunks import Chunks, named
from ckptkit.storage.scratch import Memory, hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from ckptkit.formats.msgpack.tree import Leaf
    from ckptkit.formats.orbax.store import Store
    from ckptkit.model import TensorSource
    from ckptkit.storage.bytes import Storage

# A tensor whose chunks do not follow each other is put together here, a larger one in an unlinked temporary file.
_IN_MEMORY_BYTES = 32 << 20

_MOST_COPIES = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A leaf that is a text, which is stored as such."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A leaf that another file of the item holds, and what it is there."""

    source: TensorSource
    leaf: Leaf

    @property
    def key(self) -> str:
        """Its key there."""
        return "/".join(self.leaf.path)


class OrbaxSource:
    """A `TensorSource` over the leaves of one item."""

    def __init__(
        self, store: Store, leaves: Mapping[str, StoredArray | Text | Elsewhere], path: str, *, all_stored: bool
    ) -> None:
        self._store = store
        self._leaves = leaves
        self._path = path
        self._all_stored = all_stored
        self._copies: dict[str, Storage] = {}
        self._lock = threading.Lock()

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`: the first read of a tensor unpacks all of it."""
        leaf = self._find(key)
        if isinstance(leaf, Text):
            raise UsageError("a text has no bytes of fixed length", path=self._path, key=key)
        nbytes = leaf.leaf.nbytes if isinstance(leaf, Elsewhere) else leaf.zarr.nbytes
        if offset < 0 or offset + len(buffer) > nbytes:
            raise UsageError("the range is not inside the tensor", path=self._path, key=key, found=offset)
        if isinstance(leaf, Elsewhere):
            leaf.source.read_into(leaf.key, offset, buffer)
            return
        with self._lock:  # held while reading, so that no other thread closes the copy
            self._copy(key, nbytes).read_into(offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        leaf = self._find(key)
        if isinstance(leaf, Text):
            raise UsageError("a text has no bytes of fixed length", path=self._path, key=key)
        if isinstance(leaf, Elsewhere):
            yield from leaf.source.stream(leaf.key, buffer)
            return
        if not leaf.zarr.nbytes:
            return
        chunks = Chunks(self._store, leaf, all_stored=self._all_stored)
        try:
            yield from _consecutive(chunks, buffer) if chunks.consecutive else _assembled(chunks, buffer)
        except CkptkitError as error:
            raise named(error, key) from error.__cause__

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        leaf = self._find(key)
        if isinstance(leaf, Elsewhere):
            return leaf.source.read_strings(leaf.key)
        if not isinstance(leaf, Text):
            raise UsageError("not a string tensor", path=self._path, key=key)
        return [leaf.value]

    def close(self) -> None:
        """See `TensorSource.close`."""
        with self._lock:
            for copy in self._copies.values():
                copy.close()
            self._copies.clear()
        for source in {
            id(leaf.source): leaf.source for leaf in self._leaves.values() if isinstance(leaf, Elsewhere)
        }.values():
            source.close()

    def _find(self, key: str) -> StoredArray | Text | Elsewhere:
        leaf = self._leaves.get(key)
        if leaf is None:
            raise NotFoundError("no such leaf in the tree", path=self._path, key=key)
        if isinstance(leaf, StoredArray) and leaf.problem:
            raise (FormatError if leaf.damaged else UnsupportedError)(leaf.problem, path=self._path, key=key)
        return leaf

    def _copy(self, key: str, nbytes: int) -> Storage:
        """The tensor's bytes, unpacked; the caller holds the lock."""
        copy = self._copies.pop(key, None)
        if copy is None:
            while len(self._copies) >= _MOST_COPIES:
                self._copies.pop(next(iter(self._copies))).close()
            copy = hold(
                f"{self._path}: {key}", nbytes, self.stream(key, memoryview(bytearray(min(max(nbytes, 1), 1 << 20))))
            )
        self._copies[key] = copy
        return copy


def _consecutive(chunks: Chunks, buffer: memoryview) -> Iterator[memoryview]:
    """The tensor from chunks that follow each other, in pieces that fill `buffer`."""
    held = 0
    for position, unpacked in chunks.each():
        inside = chunks.inside(position)
        beyond = chunks.size - inside
        while inside:
            piece = buffer[held : min(len(buffer), held + inside)]
            if unpacked is None:
                piece[:] = _repeated(chunks.fill_bytes(), len(piece), chunks.size - beyond - inside)
            else:
                unpacked.fill(piece)
            inside -= len(piece)
            held += len(piece)
            if held == len(buffer):
                yield buffer
                held = 0
        if unpacked is not None:
            _skip(unpacked, beyond)
            unpacked.finish()
    if held:
        yield buffer[:held]


def _repeated(element: bytes, length: int, offset: int) -> bytes:
    """`length` bytes of an array whose elements are all `element`, from byte `offset` on."""
    begin = offset % len(element)
    return (element * (length // len(element) + 2))[begin : begin + length]


def _skip(unpacked: object, length: int) -> None:
    """Unpack and drop what of a chunk lies beyond the edge of the array."""
    spare = memoryview(bytearray(min(length, 1 << 16)))
    while length:
        piece = spare[: min(len(spare), length)]
        unpacked.fill(piece)  # type: ignore[attr-defined]
        length -= len(piece)


def _assembled(chunks: Chunks, buffer: memoryview) -> Iterator[memoryview]:
    """The tensor from chunks that lie across it, put together first."""
    import numpy as np

    zarr = chunks.zarr
    dtype = np.dtype(f"V{chunks.width}") if chunks.width not in (1, 2, 4, 8) else np.dtype(f"u{chunks.width}")
    if zarr.nbytes <= _IN_MEMORY_BYTES:
        out: np.ndarray = np.empty(zarr.shape, dtype)
        chunks.assemble(out)
        yield from Memory("", out.tobytes()).stream(0, zarr.nbytes, buffer)
        return
    with tempfile.TemporaryFile(prefix="ckptkit-") as file:
        file.truncate(zarr.nbytes)
        mapped = np.memmap(file, dtype, "r+", shape=zarr.shape)
        chunks.assemble(mapped)
        flat = memoryview(mapped.reshape(-1).view(np.uint8).data)
        for at in range(0, zarr.nbytes, len(buffer)):
            piece = buffer[: min(len(buffer), zarr.nbytes - at)]
            piece[:] = flat[at : at + len(piece)]
            yield piece
