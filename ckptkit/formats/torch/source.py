"""The bytes of tensors that are views of storages: read in place where they lie as they are handed over, else put in order."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, NotFoundError, UnsupportedError, UsageError
from ckptkit.formats.torch.strided import gathered, is_contiguous, reach
from ckptkit.storage.crc import CRC32, joined
from ckptkit.storage.crc32 import crc32
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from ckptkit.formats.torch.rebuild import Tensor
    from ckptkit.formats.torch.storages import Closed
    from ckptkit.model.ranges import Sum
    from ckptkit.storage.bytes import Storage

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """A storage's bytes in the file, of which tensors are views.

    Attributes:
        storage: the bytes.
        swapped: whether items lie in falling order of significance.
        crc: stored CRC-32 of all of them; None where the file has none.
        place: name of the archive's member, or number in the stream; "" for bytes inside of the pickle.
    """

    storage: Storage
    swapped: bool = False
    crc: int | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor and the storage that it is a view of; None where it has none that could be read."""

    tensor: Tensor
    held: Held | None
    problem: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in C order."""
        return math.prod(self.tensor.shape) * dtypes.itemsize(self.tensor.dtype)

    @property
    def begin(self) -> int:
        """First byte in the storage."""
        return self.tensor.offset * dtypes.itemsize(self.tensor.dtype)

    @property
    def span(self) -> int:
        """Bytes in the storage from the first element to the last."""
        return reach(self.tensor.shape, self.tensor.strides) * dtypes.itemsize(self.tensor.dtype)

    @property
    def plain(self) -> bool:
        """Whether its bytes lie as they are handed over."""
        tensor = self.tensor
        swapped = self.held is not None and self.held.swapped and dtypes.itemsize(tensor.dtype) > 1
        return not (swapped or tensor.conj or tensor.neg) and is_contiguous(tensor.shape, tensor.strides)

    @property
    def whole(self) -> bool:
        """Whether it is all of its storage, as it lies."""
        return self.plain and self.held is not None and self.begin == 0 and self.nbytes == self.held.storage.size


class Source:
    """See `TensorSource`. What is not plain is read from a copy in C order, made when it is first asked for."""

    _MOST_COPIES = 2

    def __init__(self, name: str, views: Mapping[str, View], storages: Sequence[Closed]) -> None:
        self._name = name
        self._views = views
        self._storages = storages
        self._copies: dict[str, Storage] = {}
        self._checked: set[int] = set()
        self._lock = threading.Lock()

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        view, held = self._find(key)
        if offset < 0 or offset + len(buffer) > view.nbytes:
            raise UsageError("the range is not inside the tensor", path=self._name, key=key, found=offset)
        if view.plain:
            held.storage.read_into(view.begin + offset, buffer)
            return
        with self._lock:  # held while reading, so that no other thread closes the copy
            self._copy(key, view, held).read_into(offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        view, held = self._find(key)
        sums: list[Sum] = []
        if not view.whole:
            self._check(key, held)
        yield from self.stream_range(key, 0, view.nbytes, buffer, sums)
        if view.whole:
            self.verify_ranges(key, [sums])

    def can_cut(self, key: str) -> bool:
        """See `RangedSource.can_cut`: a storage's checksum is that of the tensor that is all of it."""
        view, held = self._find(key)
        return view.whole or (view.plain and held.crc is None)

    def stream_range(
        self, key: str, start: int, stop: int, buffer: memoryview, sums: list[Sum]
    ) -> Iterator[memoryview]:
        """See `RangedSource.stream_range`."""
        view, held = self._find(key)
        if not view.plain:
            for at in range(start, stop, len(buffer)):
                piece = buffer[: min(len(buffer), stop - at)]
                self.read_into(key, at, piece)
                yield piece
            return
        crc = 0
        verified = view.whole and held.crc is not None
        for piece in held.storage.stream(view.begin + start, stop - start, buffer):
            if verified:
                crc = crc32(piece, crc)
            yield piece
        if verified:
            sums.append((crc, stop - start))

    def verify_ranges(self, key: str, sums: Sequence[Sequence[Sum]]) -> None:
        """See `RangedSource.verify_ranges`."""
        view, held = self._find(key)
        if view.whole and held.crc is not None:
            self._compare(key, held, joined([part for found in sums for part in found], CRC32))

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        self._find(key)
        raise UsageError("not a string tensor", path=self._name, key=key)

    def close(self) -> None:
        """See `TensorSource.close`."""
        with self._lock:
            for copy in self._copies.values():
                copy.close()
            self._copies.clear()
        for storage in self._storages:
            storage.close()

    def _find(self, key: str) -> tuple[View, Held]:
        view = self._views.get(key)
        if view is None:
            raise NotFoundError("no such tensor in the file", path=self._name, key=key)
        if view.held is None or view.problem is not None:
            raise UnsupportedError(view.problem or "no data", path=self._name, key=key)
        return view, view.held

    def _check(self, key: str, held: Held) -> None:
        """Verify the checksum of a whole storage once, for tensors that are parts of it."""
        if held.crc is None or id(held) in self._checked:
            return
        crc = 0
        for piece in held.storage.stream(0, held.storage.size, memoryview(bytearray(_PIECE))):
            crc = crc32(piece, crc)
        self._compare(key, held, crc)
        self._checked.add(id(held))

    def _compare(self, key: str, held: Held, crc: int) -> None:
        if crc != held.crc:
            raise ChecksumError(
                "the tensor's storage does not match its checksum", path=self._name, key=key,
                expected=f"crc32 {held.crc:08x}", found=f"{crc:08x}",
            )  # fmt: skip

    def _copy(self, key: str, view: View, held: Held) -> Storage:
        """The tensor's bytes as they are handed over; the caller holds the lock."""
        copy = self._copies.pop(key, None)
        if copy is None:
            while len(self._copies) >= self._MOST_COPIES:
                self._copies.pop(next(iter(self._copies))).close()
            copy = hold(held.storage.name, view.nbytes, canonical_pieces(view, held))
        self._copies[key] = copy
        return copy


class ChecksummedSource(Source):
    """A source of a file that stores a checksum of every storage."""

    def stored_checksum(self, key: str) -> str:
        """See `ChecksummedSource.stored_checksum`; with its place, for a tensor that is not all of its storage."""
        view, held = self._find(key)
        if view.whole:
            return f"crc32:{held.crc:08x}"
        tensor = view.tensor
        bits = "".join(word for word, on in (("*", tensor.conj), ("-", tensor.neg), (">", held.swapped)) if on)
        place = ",".join(map(str, (tensor.offset, *tensor.strides)))
        return f"crc32:{held.crc:08x}@{place}{bits}"


def canonical_pieces(view: View, held: Held) -> Iterator[bytes]:
    """All bytes of a tensor in C order, little-endian, with its conjugate and negative bits applied."""
    import numpy as np

    tensor = view.tensor
    item = dtypes.numpy_dtype(tensor.dtype)
    # Of a complex number each half is turned. Raw items: not every type of ml_dtypes has another byte order.
    unit = item.itemsize // 2 if item.kind == "c" else item.itemsize
    for piece in gathered(held.storage, np.dtype(f"V{item.itemsize}"), tensor.offset, tensor.shape, tensor.strides):
        raw = piece.reshape(-1).view(f"u{unit}")
        value = (raw.byteswap() if held.swapped else raw).view(item)
        value = np.conjugate(value) if tensor.conj else value
        value = np.negative(value) if tensor.neg else value
        yield value.tobytes()
