"""Writing npz archives."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import LimitError, NotFoundError, UnsupportedError, WriteError
from ckptkit.formats.npz.header import NUMBERS, header_bytes
from ckptkit.formats.npz.reader import SUFFIX, open_npz
from ckptkit.formats.output import writing
from ckptkit.formats.storage import open_storage
from ckptkit.formats.zip_members import STORED, members, stream_member
from ckptkit.model import WRITE_BYTES, Contents, TensorSource, TensorSpec

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator, Mapping

_DESCRS = {name: f"{'|' if word[1:] == '1' else '<'}{word}" for word, name in NUMBERS.items()}

_LARGEST_STRINGS = 64 << 20  # bytes; the items of an array of strings are as long as the longest
_ZIP64_FROM = 1 << 31  # bytes of a member; what is smaller needs no 64-bit fields even with its header


def write_npz(path: str, contents: Contents, source: TensorSource) -> None:
    """Write the tensors of `contents` to a new archive `path`, in their order, streaming, not compressed.

    Strings become NumPy's byte strings of the longest one's length.

    Raises:
        UnsupportedError: a string that ends with NUL bytes (NumPy would drop them), or a name that zip cannot hold.
        WriteError: the file cannot be written.
    """
    with _archive(path) as archive:
        for tensor in contents.tensors:
            _add(archive, STORED, tensor.key, TensorSpec(tensor.key, tensor.shape, tensor.dtype), source)


def rewrite_npz(path: str, template: str, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
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
    storage = open_storage(template)
    try:
        contents, _ = open_npz(storage)
        unknown = tensors.keys() - {tensor.key for tensor in contents.tensors}
        if unknown:
            raise NotFoundError("the template has no such array", path=template, key=min(unknown))
        with _archive(path) as archive:
            for name, member in members(storage, paths=False).items():
                key = name.removesuffix(SUFFIX)
                if key in tensors:
                    _add(archive, member.method, key, tensors[key], source)
                else:
                    with _member(archive, name, member.method, member.size, member.comment) as file:
                        for piece in stream_member(storage, member):
                            file.write(piece)
    finally:
        storage.close()


@contextmanager
def _archive(path: str) -> Iterator[zipfile.ZipFile]:
    """A new archive; what the platform has against it is a `WriteError`."""
    import zipfile  # 10 ms that no reader should pay

    with writing(path), zipfile.ZipFile(path, "w") as archive:
        yield archive


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, method: int, size: int, comment: bytes) -> Iterator[IO[bytes]]:
    """A new member to write into; without a date, so that equal content gives equal files."""
    import zipfile

    if "\0" in name or len(name.encode("utf-8", "replace")) > 0xFFFF:
        raise UnsupportedError("a name that a zip archive cannot hold", path=archive.filename, key=name)
    entry = zipfile.ZipInfo(name)
    entry.filename = name  # as it is: the constructor takes `os.sep` for `/`
    entry.compress_type, entry.comment, entry.file_size = method, comment, size
    try:
        file = archive.open(entry, "w", force_zip64=size >= _ZIP64_FROM)
    except UnicodeEncodeError as error:
        raise UnsupportedError("a name is not Unicode text", path=archive.filename, key=name) from error
    with file:
        yield file


def _add(archive: zipfile.ZipFile, method: int, key: str, spec: TensorSpec, source: TensorSource) -> None:
    """Write tensor `key` of `source`, which is as `spec` says, as one member."""
    pieces: Iterable[bytes | memoryview]
    if spec.dtype == "string":
        descr, pieces = _strings(archive, key, source.read_strings(key))
        size = len(pieces[0])
    else:
        descr = _DESCRS.get(dtypes.BY_NAME[spec.dtype].numpy) or f"|V{dtypes.itemsize(spec.dtype)}"
        pieces = source.stream(key, memoryview(bytearray(WRITE_BYTES)))
        size = spec.nbytes
    comment = b"" if spec.dtype in ("string", *_DESCRS) else spec.dtype.encode()
    header = header_bytes(descr, spec.shape)
    done = 0
    with _member(archive, key + SUFFIX, method, size + len(header), comment) as file:
        file.write(header)
        for piece in pieces:
            file.write(piece)
            done += len(piece)
    if done != size:
        raise WriteError(
            "a tensor has another size than it should", path=archive.filename, key=key, expected=size, found=done
        )


def _strings(archive: zipfile.ZipFile, key: str, items: list[bytes]) -> tuple[str, tuple[bytes]]:
    """`descr` and the bytes of an array of byte strings, each filled up with NUL."""
    width = max(1, *map(len, items)) if items else 1
    if any(item.endswith(b"\0") for item in items):
        raise UnsupportedError("NumPy drops the NUL bytes at the end of a string", path=archive.filename, key=key)
    if width * len(items) > _LARGEST_STRINGS:
        raise LimitError("too many bytes of strings", path=archive.filename, key=key, found=width * len(items))
    return f"|S{width}", (b"".join(item.ljust(width, b"\0") for item in items),)
