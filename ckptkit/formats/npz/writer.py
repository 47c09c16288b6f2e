"""Writing npz archives."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import LimitError, NotFoundError, UnsupportedError, WriteError
from ckptkit.formats.layout import encode_layout
from ckptkit.formats.npz.header import NUMBERS, header_bytes
from ckptkit.formats.npz.reader import SUFFIX, open_npz
from ckptkit.formats.npz.reader import open as open_file
from ckptkit.formats.parts import FilePart, Outline
from ckptkit.formats.zip.members import STORED, members, stream_member
from ckptkit.formats.zip.writing import archive, member
from ckptkit.model import WRITE_BYTES, Contents, Layout, TensorSource, TensorSpec

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Mapping

    from ckptkit.storage.address import Address

_DESCRS = {name: f"{'|' if word[1:] == '1' else '<'}{word}" for word, name in NUMBERS.items()}

_LARGEST_STRINGS = 64 << 20  # bytes; the items of an array of strings are as long as the longest
_LONGEST_COMMENT = 0xFFFF


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002, ARG001
    """A new archive of the tensors of `contents`: one file, which one worker writes."""
    keys, nbytes = [tensor.key for tensor in contents.tensors], sum(tensor.nbytes for tensor in contents.tensors)
    return Outline([FilePart(final.base, keys, nbytes, partial(write_npz, contents=contents), open_file)])


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of the archive `template` in which `tensors` hold other values: one file, which one worker writes."""
    keys = [spec.name for spec in tensors.values()]
    make = partial(rewrite_npz, template=template, tensors=tensors)
    return Outline([FilePart(final.base, keys, template.size(), make, open_file)])


def write_npz(path: str, contents: Contents, source: TensorSource) -> None:
    """Write the tensors of `contents` to a new archive `path`, in their order, streaming, not compressed.

    Strings become NumPy's byte strings of the longest one's length.

    Raises:
        UnsupportedError: a string that ends with NUL bytes (NumPy would drop them), or a name that zip cannot hold.
        WriteError: the file cannot be written.
    """
    layout = contents.layout
    notes = {} if layout is None else {place.key: Layout(layout.kind, (place,)) for place in layout.places}
    with archive(path) as opened:
        for tensor in contents.tensors:
            # In every member: the order is that of the members, and what lacks one has been changed since.
            note = notes.get(tensor.key, Layout(layout.kind, ())) if layout else None
            spec = TensorSpec(tensor.key, tensor.shape, tensor.dtype)
            _add(opened, STORED, tensor.key, spec, source, b"" if note is None else b";" + encode_layout(note).encode())


def rewrite_npz(path: str, template: Address, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which `tensors` come from `source`.

    Other members, order and compression stay.

    Args:
        path: the new file.
        template: an existing npz archive.
        tensors: what takes the place of the template's array of that key.
        source: answers for the keys of `tensors`.

    Raises:
        NotFoundError: the template has no array of a key.
    """
    with closing(template.open()) as storage:
        contents, _ = open_npz(storage)
        unknown = tensors.keys() - {tensor.key for tensor in contents.tensors}
        if unknown:
            raise NotFoundError("the template has no such array", path=template, key=min(unknown))
        with archive(path) as opened:
            for name, old in members(storage, paths=False).items():
                key = name.removesuffix(SUFFIX)
                if key in tensors:
                    kept = old.comment.partition(b";")
                    _add(opened, old.method, key, tensors[key], source, kept[1] + kept[2])
                else:
                    with member(opened, name, old.method, old.size, old.comment) as file:
                        for piece in stream_member(storage, old):
                            file.write(piece)


def _add(
    into: zipfile.ZipFile, method: int, key: str, spec: TensorSpec, source: TensorSource, note: bytes = b""
) -> None:
    """Write tensor `key` of `source`, which is as `spec` says, as one member; its comment has the dtype and `note`."""
    pieces: Iterable[bytes | memoryview]
    if spec.dtype == "string":
        descr, pieces = _strings(into, key, source.read_strings(key))
        size = len(pieces[0])
    else:
        descr = _DESCRS.get(dtypes.BY_NAME[spec.dtype].numpy) or f"|V{dtypes.itemsize(spec.dtype)}"
        pieces = source.stream(key, memoryview(bytearray(WRITE_BYTES)))
        size = spec.nbytes
    comment = b"" if spec.dtype in ("string", *_DESCRS) else spec.dtype.encode()
    comment += note if len(comment + note) <= _LONGEST_COMMENT else b""
    header = header_bytes(descr, spec.shape)
    done = 0
    with member(into, key + SUFFIX, method, size + len(header), comment) as file:
        file.write(header)
        for piece in pieces:
            file.write(piece)
            done += len(piece)
    if done != size:
        raise WriteError(
            "a tensor has another size than it should", path=into.filename, key=key, expected=size, found=done
        )


def _strings(into: zipfile.ZipFile, key: str, items: list[bytes]) -> tuple[str, tuple[bytes]]:
    """`descr` and the bytes of an array of byte strings, each filled up with NUL."""
    width = max(1, *map(len, items)) if items else 1
    if any(item.endswith(b"\0") for item in items):
        raise UnsupportedError("NumPy drops the NUL bytes at the end of a string", path=into.filename, key=key)
    if width * len(items) > _LARGEST_STRINGS:
        raise LimitError("too many bytes of strings", path=into.filename, key=key, found=width * len(items))
    return f"|S{width}", (b"".join(item.ljust(width, b"\0") for item in items),)
