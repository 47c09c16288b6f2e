"""What was written counts when it has been read back: fingerprints taken on the way out, compared on the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import WriteError
from ckptkit.model import CHUNK_BYTES, Contents, TensorSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Digest = tuple[int, int]
"""Bytes, and their CRC-32C (10 GB/s; it has to find accidents, not forgeries)."""


class Recorder:
    """A source that passes on another one's tensors and keeps the digest of each that went by whole.

    Writers are given it in the place of their source and need not know. A tensor that is read by ranges leaves no
    digest.
    """

    def __init__(self, source: TensorSource) -> None:
        self._source = source
        self.digests: dict[str, Digest] = {}

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Pass on; leaves no digest."""
        self._source.read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """Pass on and keep the digest once all has gone by."""
        from crc32c import crc32c

        length = crc = 0
        for piece in self._source.stream(key, buffer):
            length += len(piece)
            crc = crc32c(piece, crc)
            yield piece
        self.digests[key] = (length, crc)

    def read_strings(self, key: str) -> list[bytes]:
        """Pass on and keep the digest."""
        strings = self._source.read_strings(key)
        self.digests[key] = _digest_of_strings(strings)
        return strings

    def close(self) -> None:
        """Close the other source."""
        self._source.close()


def verify_written(opened: tuple[Contents, TensorSource], path: str, expected: Mapping[str, Digest]) -> None:
    """Read all of what was written, and compare.

    Args:
        opened: what was written, opened anew; is closed.
        path: its place before it gets its final name, for messages.
        expected: key in the written file -> digest of what it has to hold (`Recorder.digests`).

    Raises:
        WriteError: a tensor is missing or holds something else.
        CkptkitError: what was written cannot be read.
    """
    contents, source = opened
    try:
        recorder = Recorder(source)
        strings = {tensor.key for tensor in contents.tensors if tensor.dtype == "string"}
        missing = expected.keys() - {tensor.key for tensor in contents.tensors}
        if missing:
            raise WriteError("what was written lacks a tensor when read back", path=path, key=min(missing))
        buffer = memoryview(bytearray(CHUNK_BYTES))
        for key, digest in expected.items():
            if key in strings:
                recorder.read_strings(key)
            else:
                for _ in recorder.stream(key, buffer):
                    pass
            if recorder.digests[key] != digest:
                raise _reads_back_as_else(path, key, digest, recorder.digests[key])
    finally:
        source.close()


def _reads_back_as_else(path: str, key: str, expected: Digest, found: Digest) -> WriteError:
    return WriteError(
        "what was written reads back as something else",
        path=path,
        key=key,
        expected="{} bytes, crc32c {:08x}".format(*expected),
        found="{} bytes, crc32c {:08x}".format(*found),
        hint="The storage may be failing; nothing was put in place",
    )


def _digest_of_strings(strings: list[bytes]) -> Digest:
    from crc32c import crc32c

    crc = 0
    for item in strings:
        crc = crc32c(item, crc32c(len(item).to_bytes(8, "little"), crc))
    return sum(map(len, strings)), crc
