"""Writing trees as Flax reads them: new ones, and copies of a file with other values in its leaves."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ckptkit.errors import NotFoundError, UnsupportedError, WriteError
from ckptkit.formats.msgpack.reader import open as open_file
from ckptkit.formats.msgpack.tree import CHUNKED, Leaf, read_leaves
from ckptkit.formats.parts import FilePart, Outline
from ckptkit.model import WRITE_BYTES, Contents, TensorSource, TensorSpec, Tree
from ckptkit.storage.bytes import read
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

# What is larger is cut, in flat pieces of at most this (flax/serialization.py, `MAX_CHUNK_SIZE`).
MOST_BYTES = 1 << 30

_ARRAY, _COMPLEX = 1, 2

Node = dict[str, "Node | TensorSpec"]


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002, ARG001
    """A new file of the tensors of `contents`, in maps by their paths: one file, which one worker writes."""
    keys, nbytes = [tensor.key for tensor in contents.tensors], sum(tensor.nbytes for tensor in contents.tensors)
    return Outline([FilePart(final.base, keys, nbytes, partial(write_tree, contents=contents), open_file)])


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of the file `template` in which `tensors` hold other values: one file, which one worker writes."""
    keys = [spec.name for spec in tensors.values()]
    make = partial(rewrite_tree, template=template, tensors=tensors)
    return Outline([FilePart(final.base, keys, template.size(), make, open_file)])


def write_tree(path: str, contents: Contents, source: TensorSource) -> None:
    """Write the tensors of `contents` to the new file `path`, streaming.

    Raises:
        UnsupportedError: an array of texts, or a name that is both a leaf and a map.
        WriteError: the file cannot be written.
    """
    leaves = contents.structure.leaves if isinstance(contents.structure, Tree) else ()
    paths = {leaf.key: leaf.path for leaf in leaves}
    root: Node = {}
    for tensor in contents.tensors:
        parts = paths.get(tensor.key) or tuple(part for part in tensor.key.split("/") if part) or (tensor.key,)
        node = root
        for part in parts[:-1]:
            below = node.setdefault(part, {})
            if not isinstance(below, dict):
                raise UnsupportedError("a name is both that of a leaf and of a map", path=path, key=tensor.key)
            node = below
        if parts[-1] in node:
            raise UnsupportedError("a name is both that of a leaf and of a map", path=path, key=tensor.key)
        node[parts[-1]] = TensorSpec(tensor.key, tensor.shape, tensor.dtype)
    with writing(path), Path(path).open("wb") as file:
        stack: list[Iterator[tuple[str, Node | TensorSpec]]] = [iter([("", root)])]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
                continue
            name, value = item
            if len(stack) > 1:
                file.write(_text(name))
            if isinstance(value, dict):
                file.write(_head(len(value), 0x80, 0xDE))
                stack.append(iter(value.items()))
            else:
                for piece in _leaf_bytes(value, source):
                    file.write(piece)


def rewrite_tree(path: str, template: Address, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which the leaves `tensors` come from `source`; not a byte else changes.

    Raises:
        NotFoundError: the template has no leaf of a key.
        UnsupportedError: the leaf is an array in chunks, and the other of another shape or type.
    """
    with closing(template.open()) as storage, writing(path), Path(path).open("wb") as file:
        leaves = {"/".join(leaf.path): leaf for leaf in read_leaves(storage)}
        unknown = tensors.keys() - leaves.keys()
        if unknown:
            raise NotFoundError("the template has no such leaf", path=template, key=min(unknown))
        done = 0
        for key, leaf in sorted(leaves.items(), key=lambda item: item[1].pieces[:1] or (item[1].span,)):
            if key not in tensors:
                continue
            for begin, end, data in _edits(leaf, tensors[key], source, template):
                _copy(file, storage, done, begin)
                for piece in data:
                    file.write(piece)
                done = end
        _copy(file, storage, done, storage.size)


def _edits(
    leaf: Leaf, spec: TensorSpec, source: TensorSource, template: Address
) -> Iterator[tuple[int, int, Iterable[bytes | memoryview]]]:
    """(first byte, the one behind, what comes in their place), in order."""
    if leaf.array and (leaf.shape, leaf.dtype) == (spec.shape, spec.dtype):
        taken = _Taken(source, spec)
        for offset, length in leaf.pieces:
            yield offset, offset + length, taken.take(length)
        taken.finish()
        return
    if leaf.span == (0, 0):
        raise UnsupportedError(
            "an array in chunks is only replaced by one of its shape and type", path=template, key=spec.name,
            expected=f"{leaf.dtype} {list(leaf.shape)}", found=f"{spec.dtype} {list(spec.shape)}",
        )  # fmt: skip
    plain = not leaf.array and leaf.dtype != "string" and (leaf.shape, leaf.dtype) == (spec.shape, spec.dtype)
    yield *leaf.span, [_number_of(spec, source)] if plain else _leaf_bytes(spec, source)


def _copy(file: IO[bytes], storage: Storage, begin: int, end: int) -> None:
    for at in range(begin, end, WRITE_BYTES):
        file.write(read(storage, at, min(WRITE_BYTES, end - at)))


def _number_of(spec: TensorSpec, source: TensorSource) -> bytes:
    """A number of Python's own, as MessagePack has it."""
    data = b"".join(map(bytes, source.stream(spec.name, memoryview(bytearray(16)))))
    if spec.dtype == "bool":
        return b"\xc3" if data != b"\0" else b"\xc2"
    if spec.dtype == "float64":
        return b"\xcb" + data[::-1]
    if spec.dtype == "complex128":
        inner = b"\x92\xcb" + data[7::-1] + b"\xcb" + data[:7:-1]
        return _content(len(inner), (0xC7, 0xC8, 0xC9)) + bytes([_COMPLEX]) + inner
    value = int.from_bytes(data, "little", signed=spec.dtype == "int64")
    return _number(value) if value >= 0 else b"\xd3" + value.to_bytes(8, "big", signed=True)


class _Taken:
    """The bytes of a tensor, so many at a time."""

    def __init__(self, source: TensorSource, spec: TensorSpec) -> None:
        self._spec = spec
        self._pieces = source.stream(spec.name, memoryview(bytearray(WRITE_BYTES)))
        self._rest = memoryview(b"")

    def take(self, length: int) -> Iterator[memoryview]:
        """The next `length` bytes, in pieces.

        Raises:
            WriteError: there are fewer.
        """
        while length:
            if not len(self._rest):
                self._rest = next(self._pieces, memoryview(b""))
                if not len(self._rest):
                    raise self._wrong()
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield piece

    def finish(self) -> None:
        """Raise unless that was all; a checksum is verified at the end."""
        if len(self._rest) or any(True for _ in self._pieces):
            raise self._wrong()

    def _wrong(self) -> WriteError:
        return WriteError("a tensor has another size than it should", key=self._spec.name, expected=self._spec.nbytes)


def _leaf_bytes(spec: TensorSpec, source: TensorSource) -> Iterator[bytes | memoryview]:
    if spec.dtype == "string":
        items = source.read_strings(spec.name)
        if len(items) != 1 or spec.shape:
            raise UnsupportedError("Flax stores single texts, no arrays of them", key=spec.name)
        yield _content(len(items[0]), (0xD9, 0xDA, 0xDB)) + items[0]
        return
    width = max(1, spec.nbytes // max(spec.size, 1))
    taken = _Taken(source, spec)
    if spec.nbytes <= MOST_BYTES:
        yield _array_head(spec.shape, spec.dtype, spec.nbytes)
        yield from taken.take(spec.nbytes)
        taken.finish()
        return
    step = MOST_BYTES // width
    sizes = [min(step, spec.size - at) for at in range(0, spec.size, step)]
    yield _head(3, 0x80, 0xDE) + _text(CHUNKED) + b"\xc3" + _text("shape") + _head(len(spec.shape), 0x80, 0xDE)
    for number, size in enumerate(spec.shape):
        yield _text(str(number)) + _number(size)
    yield _text("chunks") + _head(len(sizes), 0x80, 0xDE)
    for number, size in enumerate(sizes):
        yield _text(str(number)) + _array_head((size,), spec.dtype, size * width)
        yield from taken.take(size * width)
    taken.finish()


def _array_head(shape: tuple[int, ...], dtype: str, nbytes: int) -> bytes:
    """The head of an extension with an array in it, up to its bytes."""
    inner = _head(3, 0x90, 0xDC) + _head(len(shape), 0x90, 0xDC) + b"".join(map(_number, shape)) + _text(dtype)
    inner += _content(nbytes, (0xC4, 0xC5, 0xC6))
    return _content(len(inner) + nbytes, (0xC7, 0xC8, 0xC9)) + bytes([_ARRAY]) + inner


def _head(count: int, short: int, long: int) -> bytes:
    """The head of a map or an array."""
    if count < 16:
        return bytes([short | count])
    return bytes([long]) + count.to_bytes(2, "big") if count < 1 << 16 else bytes([long + 1]) + count.to_bytes(4, "big")


def _content(length: int, codes: tuple[int, int, int]) -> bytes:
    """The head of a text, a binary or an extension."""
    width = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return bytes([codes[width // 2]]) + length.to_bytes(width, "big")


def _text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedError("a name is not Unicode text", key=text) from error
    return (bytes([0xA0 | len(data)]) if len(data) < 32 else _content(len(data), (0xD9, 0xDA, 0xDB))) + data


def _number(value: int) -> bytes:
    for code, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if value < 128:
            return bytes([value])
        if value < 1 << 8 * width:
            return bytes([code]) + value.to_bytes(width, "big")
    raise UnsupportedError("a dimension that MessagePack has no room for", found=value)
