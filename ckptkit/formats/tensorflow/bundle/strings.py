"""String tensors in a bundle: lengths as varints, a checksum of the lengths, the bytes one after the other.

The entry's checksum runs over the lengths as fixed numbers (4 bytes, 8 beyond 2**32 - 1), the stored checksum and the
bytes. Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc (`ReadStringTensor`, `WriteStringTensor`).
"""

from __future__ import annotations

from ckptkit.errors import ChecksumError, FormatError, LimitError
from ckptkit.formats.tensorflow.bundle.checksum import crc32c, mask, unmask
from ckptkit.formats.tensorflow.wire import encode_varint, parse_varint

MAX_STRING_BYTES = 128 << 20
"""Most bytes that a string tensor may take in memory; they are read whole."""

_OBJECT_BYTES = 48  # a `bytes` object and its place in a list
_UINT32 = 0xFFFFFFFF


def check_size(count: int, size: int) -> None:
    """Raise unless `count` strings stored in `size` bytes are possible and fit in memory."""
    if count + 4 > size:
        raise FormatError("a string tensor has more elements than bytes", expected=f"at least {count + 4}", found=size)
    needed = count * _OBJECT_BYTES + size
    if needed > MAX_STRING_BYTES:
        raise LimitError("a string tensor is too large", expected=f"at most {MAX_STRING_BYTES} bytes", found=needed)


def parse_strings(data: bytes | bytearray, count: int, crc: int) -> list[bytes]:
    """The `count` elements of a stored string tensor, once both checksums hold.

    Args:
        data: all of its stored bytes.
        count: number of elements, as its shape says.
        crc: masked checksum of its entry.

    Raises:
        FormatError: the lengths do not add up to the bytes.
        ChecksumError: the lengths or the bytes are not what was written.
    """
    check_size(count, len(data))
    lengths, at = [], 0
    for _ in range(count):
        length, at = parse_varint(data, at)
        lengths.append(length)
    stored = bytes(data[at : at + 4])
    at += 4
    if at + sum(lengths) != len(data):
        raise FormatError(
            "the lengths of a string tensor do not add up to its bytes", expected=len(data), found=at + sum(lengths)
        )
    summed = _lengths_crc(lengths)
    if len(stored) < 4 or summed != unmask(int.from_bytes(stored, "little")):
        raise ChecksumError("the lengths of a string tensor do not match their checksum")
    found = crc32c(memoryview(data)[at:], crc32c(stored, summed))
    if found != unmask(crc):
        raise ChecksumError("a string tensor does not match its checksum")
    strings = []
    for length in lengths:
        strings.append(bytes(data[at : at + length]))
        at += length
    return strings


def encode_strings(strings: list[bytes]) -> tuple[bytes, int]:
    """The stored bytes of a string tensor and the masked checksum for its entry."""
    lengths = [len(string) for string in strings]
    summed = _lengths_crc(lengths)
    stored = mask(summed).to_bytes(4, "little")
    body = b"".join(strings)
    crc = crc32c(body, crc32c(stored, summed))
    return b"".join((*map(encode_varint, lengths), stored, body)), mask(crc)


def _lengths_crc(lengths: list[int]) -> int:
    fixed = b"".join(length.to_bytes(4 if length <= _UINT32 else 8, "little") for length in lengths)
    return crc32c(fixed)
