"""Writing zip archives: members without dates, so that equal content gives equal files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ckptkit.errors import UnsupportedError
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    import zipfile

_ZIP64_FROM = 1 << 31  # bytes of a member; what is smaller needs no 64-bit fields even with its header
_ZIP64_FIELD = 20
_LOCAL_HEADER = 30

# An extra field that is only filling, under the id that PyTorch gives it (caffe2/serialize/inline_container.cc).
_FILLING = 0x4246


@contextmanager
def archive(path: str) -> Iterator[zipfile.ZipFile]:
    """A new archive; what the platform has against it is a `WriteError`."""
    import zipfile  # 10 ms that no reader should pay

    with writing(path), zipfile.ZipFile(path, "w") as opened:
        yield opened


@contextmanager
def member(
    into: zipfile.ZipFile, name: str, method: int, size: int, comment: bytes = b"", align: int = 1
) -> Iterator[IO[bytes]]:
    """A new member to write into.

    Args:
        into: the archive.
        name: of the member, taken as it is.
        method: `STORED` or `DEFLATED`.
        size: bytes that will be written.
        comment: free bytes that the directory keeps for it.
        align: its bytes begin at a multiple of this.

    Raises:
        UnsupportedError: a name that zip cannot hold.
    """
    import zipfile

    if "\0" in name or len(name.encode("utf-8", "replace")) > 0xFFFF:
        raise UnsupportedError("a name that a zip archive cannot hold", path=into.filename, key=name)
    entry = zipfile.ZipInfo(name)
    entry.filename = name  # as it is: the constructor takes `os.sep` for `/`
    entry.compress_type, entry.comment, entry.file_size = method, comment, size
    large = size >= _ZIP64_FROM
    try:
        if align > 1:
            entry.extra = _filling(into, name, large, align)
        file = into.open(entry, "w", force_zip64=large)
    except UnicodeEncodeError as error:
        raise UnsupportedError("a name is not Unicode text", path=into.filename, key=name) from error
    with file:
        yield file


def _filling(into: zipfile.ZipFile, name: str, large: bool, align: int) -> bytes:
    """An extra field that ends where the next multiple of `align` begins."""
    assert into.fp is not None  # noqa: S101 - it is open
    begin = into.fp.tell() + _LOCAL_HEADER + len(name.encode()) + (_ZIP64_FIELD if large else 0) + 4
    length = -begin % align
    return struct.pack("<HH", _FILLING, length) + b"Z" * length
