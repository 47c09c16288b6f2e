"""The leaves of a tree that Flax serialised, with the places of their bytes.

Extensions are Flax's (flax/serialization.py): 1 is an array, 2 a complex number, 3 a NumPy scalar; an array or scalar is
itself MessagePack of shape, dtype and bytes. What is beyond 1 GiB stands in chunks under a mark (`_chunk`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.msgpack.tokens import Token, Tokens

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

MAX_DEPTH = 100
MAX_LEAVES = 400_000
MAX_NAME_BYTES = 64 << 20
"""Of all paths together."""
_LONGEST_KEY = 4096
_LONGEST_DTYPE = 64
_MAX_RANK = 64

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
CHUNKED = "__msgpack_chunked_array__"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of the tree.

    Attributes:
        path: keys of the maps and places in the lists that lead to it.
        dtype: canonical dtype; `string` for text and binary data.
        shape: its dimensions.
        pieces: (offset, length) in the file of its bytes, in order.
        inline: the bytes, for a number of Python's own, which the file has in another form.
        problem: why it cannot be read, or None.
        array: whether it is an array; numbers and texts are not.
        span: first byte of all that stands for it, and the one behind; (0, 0) for an array in chunks.
    """

    path: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...] = ()
    pieces: tuple[tuple[int, int], ...] = ()
    inline: bytes | None = None
    problem: str | None = None
    array: bool = False
    span: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        if self.dtype == "string":
            return sum(length for _, length in self.pieces)
        return math.prod(self.shape) * dtypes.itemsize(self.dtype)


def read_leaves(storage: Storage) -> list[Leaf]:
    """The leaves of the tree that the file is, in its order; None is no leaf.

    Raises:
        FormatError: it is not MessagePack, is cut short, or something follows.
        LimitError: more, deeper or longer than an honest tree.
    """
    tokens = Tokens(storage)
    leaves: list[Leaf] = []
    # Of each container that is open: its path, whether its items have keys, how many are to come, and how many there were.
    open_: list[tuple[tuple[str, ...], bool, int, int]] = [((), False, 1, 0)]
    at = names = 0
    while open_:
        path, keyed, left, done = open_.pop()
        if not left:
            continue
        open_.append((path, keyed, left - 1, done + 1))
        key = str(done)
        if keyed:
            key, at = _key(tokens, at)
        below = (*path, key) if len(open_) > 1 else ()
        begin, token = at, tokens.at(at)
        at = token.end
        if token.kind in ("map", "array"):
            if len(open_) > MAX_DEPTH:
                raise LimitError("the tree is too deep", path=storage.name, expected=f"at most {MAX_DEPTH}")
            open_.append((below, token.kind == "map", int(token.value), 0))
            continue
        leaf = _leaf(tokens, token, below)
        if leaf is not None:
            leaves.append(replace(leaf, span=(begin, at)))
            names += sum(map(len, below))
        if len(leaves) > MAX_LEAVES or names > MAX_NAME_BYTES:
            raise LimitError("the tree has too many leaves", path=storage.name, expected=f"at most {MAX_LEAVES}")
    if at != storage.size:
        raise FormatError("something follows the tree", path=storage.name, expected=f"{at} bytes", found=storage.size)
    return _joined(leaves, storage.name)


def _key(tokens: Tokens, at: int) -> tuple[str, int]:
    token = tokens.at(at)
    if token.kind == "int":
        return str(token.value), token.end
    if token.kind not in ("str", "bin") or token.length > _LONGEST_KEY:
        raise FormatError("a key of the tree is no text", path=tokens.storage.name, found=token.kind)
    return _text(tokens, token), token.end


def _text(tokens: Tokens, token: Token) -> str:
    try:
        return tokens.bytes(token.offset, token.length).decode()
    except UnicodeDecodeError as error:
        raise FormatError("a text is not Unicode", path=tokens.storage.name) from error


def _leaf(tokens: Tokens, token: Token, path: tuple[str, ...]) -> Leaf | None:
    if token.kind == "nil":
        return None
    if token.kind == "bool":
        return Leaf(path, "bool", inline=b"\1" if token.value else b"\0")
    if token.kind == "float":
        return Leaf(path, "float64", inline=struct.pack("<d", token.value))
    if token.kind == "int":
        signed = token.value < 1 << 63
        return Leaf(path, "int64" if signed else "uint64", inline=struct.pack("<q" if signed else "<Q", token.value))
    if token.kind in ("str", "bin"):
        return Leaf(path, "string", pieces=((token.offset, token.length),))
    if token.value == _COMPLEX:
        return _complex(tokens, token, path)
    if token.value in (_ARRAY, _SCALAR):
        return _array(tokens, token, path)
    return Leaf(path, "uint8", problem=f"an extension of type {token.value}, which is none of Flax's")


def _complex(tokens: Tokens, token: Token, path: tuple[str, ...]) -> Leaf:
    pair = tokens.at(token.offset)
    real = tokens.at(pair.end)
    imaginary = tokens.at(real.end)
    numbers = ("int", "float")
    if pair.kind != "array" or pair.value != 2 or {real.kind, imaginary.kind} - set(numbers):
        raise _broken(tokens, path)
    if imaginary.end != token.end:
        raise _broken(tokens, path)
    return Leaf(path, "complex128", inline=struct.pack("<dd", real.value, imaginary.value))


def _array(tokens: Tokens, token: Token, path: tuple[str, ...]) -> Leaf:
    head = tokens.at(token.offset)
    if head.kind != "array" or head.value != 3:
        raise _broken(tokens, path)
    sizes = tokens.at(head.end)
    if sizes.kind != "array" or sizes.value > _MAX_RANK:
        raise _broken(tokens, path)
    shape: list[int] = []
    at = sizes.end
    for _ in range(int(sizes.value)):
        size = tokens.at(at)
        if size.kind != "int" or size.value < 0:
            raise _broken(tokens, path)
        shape.append(int(size.value))
        at = size.end
    word = tokens.at(at)
    if word.kind not in ("str", "bin") or word.length > _LONGEST_DTYPE:
        raise _broken(tokens, path)
    dtype = _text(tokens, word)
    data = tokens.at(word.end)
    if data.kind not in ("bin", "str") or data.end != token.end:
        raise _broken(tokens, path)
    row = dtypes.BY_NAME.get(dtype)
    if row is None or not row.itemsize:
        return Leaf(
            path, "uint8", tuple(shape), problem=f"an array of dtype {dtype[:60]}, which ckptkit has no name for"
        )
    leaf = Leaf(path, dtype, tuple(shape), ((data.offset, data.length),), array=True)
    if leaf.nbytes != data.length:
        raise FormatError(
            "the array's shape and its bytes do not agree", path=tokens.storage.name, key="/".join(path),
            expected=f"{leaf.nbytes} bytes", found=data.length,
        )  # fmt: skip
    return leaf


def _joined(leaves: list[Leaf], path: str) -> list[Leaf]:
    """`leaves` with arrays in chunks made one leaf each."""
    marks = {leaf.path[:-1] for leaf in leaves if leaf.path and leaf.path[-1] == CHUNKED}
    if not marks:
        return leaves
    parts: dict[tuple[str, ...], list[Leaf]] = {mark: [] for mark in marks}
    kept: list[Leaf | tuple[str, ...]] = []
    for leaf in leaves:
        mark = next((leaf.path[:end] for end in (-1, -2) if leaf.path[:end] in marks), None)
        if mark is None:
            kept.append(leaf)
            continue
        if not parts[mark]:
            kept.append(mark)
        parts[mark].append(leaf)
    return [each if isinstance(each, Leaf) else _chunked(each, parts[each], path) for each in kept]


def _chunked(mark: tuple[str, ...], parts: Sequence[Leaf], path: str) -> Leaf:
    below = {leaf.path[len(mark) :]: leaf for leaf in parts}
    shape, chunks = _numbered(below, "shape"), _numbered(below, "chunks")
    numbers = [int.from_bytes(leaf.inline or b"", "little", signed=True) for leaf in shape]
    whole = len(below) == len(shape) + len(chunks) + 1 and all(leaf.dtype == "int64" for leaf in shape)
    if not whole or not chunks or len({leaf.dtype for leaf in chunks}) != 1 or not all(leaf.array for leaf in chunks):
        raise FormatError("an array in chunks is not as Flax writes it", path=path, key="/".join(mark))
    pieces = tuple(piece for leaf in chunks for piece in leaf.pieces)
    joined = replace(chunks[0], path=mark, shape=tuple(numbers), pieces=pieces, span=(0, 0))
    if min(numbers, default=0) < 0 or joined.nbytes != sum(length for _, length in pieces):
        raise FormatError(
            "the array's shape and its bytes do not agree", path=path, key="/".join(mark),
            expected=f"{joined.nbytes} bytes", found=sum(length for _, length in pieces),
        )  # fmt: skip
    return joined


def _numbered(below: dict[tuple[str, ...], Leaf], word: str) -> list[Leaf]:
    found: list[Leaf] = []
    while (word, str(len(found))) in below:
        found.append(below[word, str(len(found))])
    return found


def _broken(tokens: Tokens, path: tuple[str, ...]) -> FormatError:
    return FormatError("an array is not as Flax writes it", path=tokens.storage.name, key="/".join(path))
