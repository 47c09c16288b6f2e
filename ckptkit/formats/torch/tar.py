"""Tar archives, as `torch.save` wrote them before PyTorch 0.2: members `storages`, `tensors` and `pickle`.

`storages` is a pickle of how many there are, then for each a pickle `(key, location, class)`, eight bytes of length and the
items; then a pickle of views `(key, key of the whole, first item, items)`. `tensors` is a pickle of how many, then for each
a pickle `(key, key of its storage, class)`, its rank in four bytes and four of filling, and shape, strides and offset in
eight each.
Source: torch/serialization.py, `legacy_load`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, UnsupportedError
from ckptkit.formats.torch.feed import Feed
from ckptkit.formats.torch.pickles import Global, List, Value, read_object
from ckptkit.formats.torch.rebuild import MOST_DIMENSIONS, MalformedError, Stored, Tensor, storage_of
from ckptkit.formats.torch.source import Held
from ckptkit.formats.torch.storages import Opened
from ckptkit.storage.bytes import Window, read

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

_BLOCK = 512
_MEMBERS = ("storages", "tensors", "pickle")
_MOST_MEMBERS = 1000
_MOST_TENSORS = 250_000


def is_tar(storage: Storage) -> bool:
    """Whether a file is a tar archive whose first members are PyTorch's."""
    if storage.size < 2 * _BLOCK or bytes(read(storage, 257, 5)) != b"ustar":
        return False
    try:
        return set(_MEMBERS) <= _members(storage).keys()
    except FormatError:
        return False


def open_tar(storage: Storage) -> Opened:
    """The value of the archive's pickle, its tensors and storages.

    Raises:
        FormatError: a member is missing, cut short, or not what PyTorch wrote.
    """
    return _Tar(storage, _members(storage)).opened()


def _members(storage: Storage) -> dict[str, tuple[int, int]]:
    """Name -> first byte and length of the regular files of an archive; headers of other kinds are passed over.

    Source: POSIX.1-2017, pax, "ustar Interchange Format".
    """
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for _ in range(_MOST_MEMBERS):
        if at + _BLOCK > storage.size:
            break
        header = bytes(read(storage, at, _BLOCK))
        if header == bytes(_BLOCK):
            break
        name = header[:100].partition(b"\0")[0].decode("ascii", "replace").removeprefix("./")
        digits = header[124:136].strip(b" \0")
        if header[257:262] != b"ustar" or not digits.isdigit() or not set(digits) <= set(b"01234567"):
            raise FormatError("a header of the tar archive is damaged", path=storage.name, found=f"byte {at}")
        size = int(digits, 8)
        at += _BLOCK
        if at + size > storage.size:
            raise FormatError("the file is cut short", path=storage.name, key=name, expected=f"{at + size} bytes")
        kind = header[156:157]
        if kind in (b"0", b"\0"):
            if name in found:
                raise FormatError("two members have this name", path=storage.name, key=name)
            found[name] = at, size
        elif kind in b"xg" and any(
            word in bytes(read(storage, at, size)[: 1 << 16]) for word in (b" path=", b" size=")
        ):
            raise UnsupportedError("a tar archive with long names", path=storage.name)
        at += -(-size // _BLOCK) * _BLOCK
    return found


class _Tar:
    def __init__(self, storage: Storage, held: dict[str, tuple[int, int]]) -> None:
        self._name = storage.name
        self._windows = {
            name: Window(storage, f"{storage.name}:{name}", *held[name]) for name in _MEMBERS if name in held
        }
        for name in _MEMBERS:
            if name not in self._windows:
                raise FormatError("the archive lacks a member", path=storage.name, expected=name)
        self._storage = storage
        self._stored: dict[int, Stored] = {}
        self._tensors: dict[int, Tensor] = {}
        self._held: dict[str, Held] = {}
        self._names: dict[Global, None] = {}

    def opened(self) -> Opened:
        try:
            self._read_storages()
            self._read_tensors()
        except (MalformedError, TypeError, ValueError) as error:
            raise FormatError("a record in the tar archive is not as PyTorch writes it", path=self._name) from error
        value = self._read(Feed(self._windows["pickle"]))
        return Opened(value, self._names, self.persist, self._held, {}, "tar archive", opened=[self._storage])

    def _read_storages(self) -> None:
        window = self._windows["storages"]
        feed = Feed(window)
        for _ in range(self._count(feed)):
            key, _, kind = _three(self._read(feed))
            number = _number(key)
            items = int.from_bytes(feed.exactly(8), "little")
            stored = storage_of(kind, str(number), items)
            size = items * dtypes.itemsize(stored.dtype or "uint8")
            begin = feed.at
            feed.skip(size)
            if number in self._stored:
                raise MalformedError
            self._stored[number] = stored
            self._held[stored.key] = Held(Window(window, self._name, begin, size))
        views = self._read(feed)
        for view in views.items if isinstance(views, List) else views:
            key, root, begin, items = (_number(each) for each in view)
            whole = self._stored.get(root)
            if whole is None or whole.end is not None or min(begin, items) < 0:
                raise MalformedError
            self._stored[key] = Stored(whole.key, whole.dtype, whole.items, begin, begin + items)

    def _read_tensors(self) -> None:
        feed = Feed(self._windows["tensors"])
        for _ in range(self._count(feed)):
            key, of, _ = _three(self._read(feed))
            (rank,) = struct.unpack("<i4x", feed.exactly(8))
            if not 0 <= rank <= MOST_DIMENSIONS:
                raise MalformedError
            numbers = struct.unpack(f"<{2 * rank + 1}q", feed.exactly(8 * (2 * rank + 1)))
            stored = self._stored.get(_number(of))
            if stored is None or stored.dtype is None or min(numbers) < 0:
                raise MalformedError
            self._tensors[_number(key)] = Tensor(
                stored, stored.dtype, numbers[:rank], numbers[rank : 2 * rank], numbers[-1]
            )

    def _read(self, feed: Feed) -> Value:
        found = read_object(feed)
        self._names.update(found.names)
        return found.value

    def _count(self, feed: Feed) -> int:
        count = self._read(feed)
        if type(count) is not int or not 0 <= count <= _MOST_TENSORS:
            raise MalformedError
        return count

    def persist(self, value: Value) -> Stored | Tensor | None:
        """The number of a tensor or a storage."""
        try:
            number = _number(value)
        except MalformedError:
            return None
        return self._tensors.get(number) or self._stored.get(number)


def _three(value: Value) -> tuple[Value, Value, Global]:
    if not isinstance(value, tuple) or len(value) != 3 or not isinstance(value[2], Global):
        raise MalformedError
    return value


def _number(value: Value) -> int:
    """A key: a number, which Python 2 wrote as a text in some versions."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if type(value) is not int:
        raise MalformedError
    return value
