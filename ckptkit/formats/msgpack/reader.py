"""Reading trees that Flax serialised: the leaves, and the places of their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError, NotFoundError, UnsupportedError, UsageError
from ckptkit.formats.msgpack.tree import Leaf, read_leaves
from ckptkit.model import Contents, StoredTensor, TensorSource, Tree, TreeLeaf
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ckptkit.model.ranges import Sum
    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

LARGEST_TEXT = 64 << 20
"""Bytes of one leaf that is a text."""


def is_msgpack(storage: Storage) -> bool:
    """Whether a file begins as a map with a text for its first key, which trees are."""
    head = bytes(read(storage, 0, min(storage.size, 6)))
    if len(head) < 2:
        return False
    width = {0xDE: 2, 0xDF: 4}.get(head[0], 0)
    if not width and not 0x81 <= head[0] <= 0x8F:
        return False
    first = head[1 + width : 2 + width]
    return bool(first) and (0xA0 <= first[0] <= 0xBF or 0xD9 <= first[0] <= 0xDB)


def files(path: Address) -> tuple[Address, ...]:
    """The file alone."""
    return (path,)


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """The leaves of the tree in the file `path`; raises as `open_tree`."""
    return path.read_with(open_tree)


def open_tree(storage: Storage) -> tuple[Contents, TensorSource]:
    """The leaves of a tree, in its own order, and their bytes.

    Raises:
        FormatError: it is not MessagePack, is cut short, or two leaves have one path.
        LimitError: more, deeper or longer than an honest tree.
    """
    leaves: dict[str, Leaf] = {}
    for leaf in read_leaves(storage):
        key = "/".join(leaf.path)
        if key in leaves or not leaf.path:
            raise FormatError("two leaves of the tree have one name", path=storage.name, key=key)
        leaves[key] = leaf
    tensors = tuple(
        StoredTensor(key, leaf.shape, leaf.dtype, leaf.nbytes, problem=leaf.problem) for key, leaf in leaves.items()
    )
    structure = Tree(tuple(TreeLeaf(key, leaf.path) for key, leaf in leaves.items()))
    return Contents("flax-msgpack", "Flax", tensors, structure), MsgpackSource(storage, leaves)


class MsgpackSource:
    """A `RangedSource` over the leaves of a tree; it owns the storage."""

    def __init__(self, storage: Storage, leaves: Mapping[str, Leaf]) -> None:
        self._storage = storage
        self._leaves = leaves

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        leaf = self._find(key)
        if leaf.dtype == "string" or offset < 0 or offset + len(buffer) > leaf.nbytes:
            raise UsageError("the range is not inside the tensor", path=self._storage.name, key=key, found=offset)
        if leaf.inline is not None:
            buffer[:] = leaf.inline[offset : offset + len(buffer)]
            return
        at = 0
        for begin, length in leaf.pieces:
            low, high = max(offset, at), min(offset + len(buffer), at + length)
            if low < high:
                self._storage.read_into(begin + low - at, buffer[low - offset : high - offset])
            at += length

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        return self.stream_range(key, 0, self._find(key).nbytes, buffer, [])

    def can_cut(self, key: str) -> bool:
        """See `RangedSource.can_cut`: the bytes of arrays lie as they are."""
        return self._find(key).array

    def stream_range(
        self,
        key: str,
        start: int,
        stop: int,
        buffer: memoryview,
        sums: list[Sum],  # noqa: ARG002 - nothing has a checksum
    ) -> Iterator[memoryview]:
        """See `RangedSource.stream_range`."""
        leaf = self._find(key)
        if leaf.array and len(leaf.pieces) == 1:
            yield from self._storage.stream(leaf.pieces[0][0] + start, stop - start, buffer)
            return
        for at in range(start, stop, len(buffer)):
            piece = buffer[: min(len(buffer), stop - at)]
            self.read_into(key, at, piece)
            yield piece

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """See `RangedSource.verify_ranges`: there is nothing to verify."""

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        leaf = self._find(key)
        if leaf.dtype != "string":
            raise UsageError("not a string tensor", path=self._storage.name, key=key)
        if leaf.nbytes > LARGEST_TEXT:
            raise LimitError(
                "the text is too long", path=self._storage.name, key=key, expected=f"at most {LARGEST_TEXT} bytes",
                found=leaf.nbytes,
            )  # fmt: skip
        return [bytes(read(self._storage, *piece)) for piece in leaf.pieces]

    def close(self) -> None:
        """See `TensorSource.close`."""
        self._storage.close()

    def _find(self, key: str) -> Leaf:
        leaf = self._leaves.get(key)
        if leaf is None:
            raise NotFoundError("no such leaf in the tree", path=self._storage.name, key=key)
        if leaf.problem:
            raise UnsupportedError(leaf.problem, path=self._storage.name, key=key)
        return leaf
