"""The data files of a distributed checkpoint, and the items in them: files of `torch.save`, or tensors of safetensors."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, UnsupportedError
from ckptkit.formats.safetensors.header import Entry as Header
from ckptkit.formats.safetensors.header import is_safetensors, read_header
from ckptkit.formats.safetensors.reader import Source as Plain
from ckptkit.formats.torch.reader import Read, read_views
from ckptkit.formats.zip.members import is_zip
from ckptkit.storage.bytes import InPlace, Storage, Window, read
from ckptkit.storage.scratch import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.dcp.metadata import ItemPlace
    from ckptkit.formats.partitions import Partition
    from ckptkit.formats.torch.source import Source
    from ckptkit.storage.address import Address

# Data files that stay open; a run of a thousand ranks has a thousand.
_MOST_OPEN = 200
# Bytes of an item that is read at once: the archive of a bias has some 1,600.
_SMALL = 4 << 10


class DataFile(InPlace):
    """A file of the folder, opened when it is first read, and for each read alone where many are open already."""

    def __init__(self, at: Address, kept: dict[str, Storage], lock: threading.Lock) -> None:
        self.name = at.text
        self.size = at.size()
        self.distant = at.store.distant
        self._at = at
        self._kept = kept
        self._lock = lock

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As `Storage.read_into`."""
        with self._opened() as storage:
            storage.read_into(offset, buffer)

    def stream(self, offset: int, length: int, buffer: memoryview) -> Iterator[memoryview]:
        """As `Storage.stream`."""
        with self._opened() as storage:
            yield from storage.stream(offset, length, buffer)

    def close(self) -> None:
        """As `Storage.close`: `Files.close` does it."""

    @contextmanager
    def _opened(self) -> Iterator[Storage]:
        with self._lock:
            storage = self._kept.get(self.name)
            if storage is None and len(self._kept) < _MOST_OPEN:
                storage = self._kept[self.name] = self._at.open()
        if storage is not None:
            yield storage
            return
        storage = self._at.open()
        try:
            yield storage
        finally:
            storage.close()


class Files:
    """The data files of a folder, by name."""

    def __init__(self, folder: Address) -> None:
        self.folder = folder
        self._kept: dict[str, Storage] = {}
        self._lock = threading.Lock()
        self._found: dict[str, DataFile | str] = {}
        self._headers: dict[tuple[str, int], tuple[Storage, dict[str, Header]]] = {}

    @property
    def size(self) -> int:
        """Bytes of all that were asked for and are there."""
        return sum(found.size for found in self._found.values() if isinstance(found, DataFile))

    def problem(self, place: ItemPlace) -> str | None:
        """Why an item cannot be read: its file is not there, is shorter, or leads elsewhere; None when it can."""
        found = self._find(place.file)
        if isinstance(found, str):
            return found
        if place.offset + place.length > found.size:
            return f"{place.file} is cut short: {place.offset + place.length} bytes are needed, {found.size} are there"
        if place.transforms:
            return f"stored through {', '.join(place.transforms)[:200]}, which is not undone here"
        return None

    def is_saved(self, place: ItemPlace) -> bool:
        """Whether an item is a file of `torch.save` as it writes them today."""
        return is_zip(self._window(place))

    def saved(self, place: ItemPlace) -> tuple[Read, Source]:
        """An item that is a file of `torch.save`; raises as `torch.reader.open_torch`."""
        window = self._window(place)
        found = read_views(window, packed=False)
        return found, found.source(window)

    def tensor(self, name: str, part: Partition, dtype: str, place: ItemPlace) -> tuple[Source | Plain, str]:
        """The source of a part of tensor `name`, and its key there.

        Raises:
            FormatError: the item is not such a part.
            UnsupportedError: it is, in a way that is not read.
        """
        window = self._window(place)
        if not is_zip(window) and (header := self._header(place)) is not None:
            storage, entries = header
            if name not in entries:
                raise FormatError("the file of an item does not hold its tensor", path=storage.name, key=name)
            shape, stored, start, end = entries[name]
            self._compare(name, part, dtype, shape, stored)
            return Plain({name: (storage, start, end)}, []), name
        found, source = self.saved(place)
        view = found.views.get("")
        if view is None or found.found.wants:
            what = next(iter(found.found.wants), "no tensor, or several")
            raise UnsupportedError("an item of a tensor is not one alone", path=window.name, key=name, found=what)
        if view.problem is not None:
            raise UnsupportedError(view.problem, path=window.name, key=name)
        self._compare(name, part, dtype, view.tensor.shape, view.tensor.dtype)
        return source, ""

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].close()

    def _compare(self, name: str, part: Partition, dtype: str, shape: tuple[int, ...], found: str) -> None:
        if (shape, found) != (part.lengths, dtype):
            raise FormatError(
                f"the item of part {part} is another tensor", path=self.folder, key=name,
                expected=f"{list(part.lengths)} {dtype}", found=f"{list(shape)} {found}",
            )  # fmt: skip

    def _find(self, name: str) -> DataFile | str:
        if name not in self._found:
            at = self.folder.join(name)
            try:
                found = DataFile(at, self._kept, self._lock)
                self._found[name] = found if at.lies_in(self.folder) else f"{name}: a link leads out of the checkpoint"
            except CkptkitError as error:
                self._found[name] = f"{name}: {error.problem}"
        return self._found[name]

    def _window(self, place: ItemPlace) -> Storage:
        found = self._find(place.file)
        if isinstance(found, str):
            raise FormatError(found, path=self.folder)
        if place.length <= _SMALL and not found.distant:  # opening an archive takes some 30 reads
            return Memory(found.name, bytes(read(found, place.offset, place.length)))
        return Window(found, found.name, place.offset, place.length)

    def _header(self, place: ItemPlace) -> tuple[Storage, dict[str, Header]] | None:
        """A file of safetensors that begins where the item does: its offset is that of the file, not of the tensor."""
        at = place.file, place.offset
        if at not in self._headers:
            outer = self._find(place.file)
            if isinstance(outer, str):
                raise FormatError(outer, path=self.folder)
            rest = Window(outer, outer.name, place.offset, outer.size - place.offset)
            if not is_safetensors(rest):
                return None
            self._headers[at] = rest, read_header(rest)[1]
        return self._headers[at]
