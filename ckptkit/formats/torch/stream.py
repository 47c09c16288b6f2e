"""Streams of pickles, as `torch.save` wrote them before PyTorch 1.6 and still does when it is told to.

A magic number, a version, a dictionary about the machine, the object, the list of storage keys, each a pickle; then for each
key eight bytes of length in items and the items, little-endian on every machine.
Source: torch/serialization.py, `_legacy_save` and `_legacy_load`; torch/csrc/serialization.cpp, `THPStorage_writeFileRaw`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, UnsupportedError
from ckptkit.formats.torch.feed import Feed
from ckptkit.formats.torch.pickles import Global, List, Pickle, Value, read_object
from ckptkit.formats.torch.rebuild import MalformedError, Stored, storage_of
from ckptkit.formats.torch.source import Held
from ckptkit.formats.torch.storages import Opened
from ckptkit.storage.bytes import Window, read

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001

# The first pickle in protocol 2, as every version writes it.
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def is_stream(storage: Storage) -> bool:
    """Whether a file begins with PyTorch's magic number as a pickle of whatever protocol."""
    head = bytes(read(storage, 0, min(storage.size, 64)))
    if not head.startswith((b"\x80", b"L")):
        return False
    number = MAGIC_NUMBER.to_bytes(10, "little")
    return number in head or str(MAGIC_NUMBER).encode() in head


def open_stream(storage: Storage) -> Opened:
    """The value of a stream's object, and its storages.

    Raises:
        FormatError: no such stream, or it is cut short.
        UnsupportedError: another version of it.
    """
    feed = Feed(storage)
    magic = read_object(feed)
    if magic.value != MAGIC_NUMBER:
        raise FormatError("not a file of torch.save", path=storage.name, expected="its magic number")
    version = read_object(feed)
    if version.value != _VERSION:
        raise UnsupportedError("an unknown version of torch.save", path=storage.name)
    system = read_object(feed)  # of the machine: the order of bytes in it is not that of the storages
    pickle, last = read_object(feed), read_object(feed)
    keys = last.value
    if not isinstance(keys, List) or not all(isinstance(key, str) for key in keys.items):
        raise FormatError("the list of storages is not one", path=storage.name)
    names = [name for each in (magic, version, system, pickle, last) for name in each.names]
    return _Stream(storage, pickle, names, keys.items, feed.at).opened()


class _Stream:
    """Storages follow each other, and only their classes, which are in the pickle, tell how long each is."""

    def __init__(self, storage: Storage, pickle: Pickle, names: list[Global], keys: list[str], start: int) -> None:
        self._storage = storage
        self._pickle = pickle
        self._names = names
        self._keys = keys
        self._start = start
        self._dtypes: dict[str, str | None] = {}

    def opened(self) -> Opened:
        for found in self._pickle.persistent:
            try:
                stored = self.persist(found.id)
            except MalformedError:
                stored = None
            if stored is not None:
                known = self._dtypes.setdefault(stored.key, stored.dtype)
                if known != stored.dtype:
                    raise FormatError("one storage with two types", path=self._storage.name, key=stored.key)
        storages = self._locate()
        problems = {key: f"the file has no storage {key}" for key in self._dtypes if key not in storages}
        return Opened(
            self._pickle.value, self._names, self.persist, storages, problems, "stream", opened=[self._storage]
        )

    def _locate(self) -> dict[str, Held]:
        found: dict[str, Held] = {}
        path = self._storage.name
        at = self._start
        for key in self._keys:
            if key in found or key not in self._dtypes:
                problem = "a storage stands twice" if key in found else "a storage of which nothing tells the type"
                raise FormatError(problem, path=path, key=key)
            items = int.from_bytes(read(self._storage, at, 8), "little")
            size = items * dtypes.itemsize(self._dtypes[key] or "uint8")
            at += 8
            if at + size > self._storage.size:
                raise FormatError(
                    "the file is cut short", path=path, key=key, expected=f"{at + size} bytes", found=self._storage.size
                )
            found[key] = Held(Window(self._storage, path, at, size), place=key)
            at += size
        if at != self._storage.size:
            raise FormatError(
                "bytes follow the last storage", path=path, expected=f"{at} bytes", found=self._storage.size
            )
        return found

    def persist(self, value: Value) -> Stored | None:
        """`("storage", class, key, location, items, view)`; a view is `(its key, first item, items)` or None."""
        if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage":
            return None
        stored = storage_of(value[1], value[2], value[4])
        view = value[5] if len(value) > 5 else None
        if view is None:
            return stored
        if (
            not isinstance(view, tuple)
            or len(view) != 3
            or not all(type(each) is int and each >= 0 for each in view[1:])
        ):
            raise MalformedError
        return Stored(stored.key, stored.dtype, stored.items, view[1], view[1] + view[2])
