"""The keys of an item's store, with the place of each value: behind OCDBT's index, or a file each."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, LimitError
from ckptkit.formats.orbax.layout import check_within
from ckptkit.formats.orbax.ocdbt import MANIFEST, MAX_ENTRIES, Value, read_entries
from ckptkit.storage.scratch import Memory

if TYPE_CHECKING:
    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

# Beside arrays that are folders: what describes them, for Orbax alone.
_OTHERS = ("array_metadatas/process_",)

# Files of the index that are held open at once.
_MOST_OPEN = 32


class Store:
    """The store of an item: where every value is, checked against the files that are there."""

    def __init__(self, item: Address, *, use_ocdbt: bool | None) -> None:
        self.item = item
        self.sizes: dict[str, int] = {}
        """Bytes of each data file that a key needs."""
        self._faults: dict[str, str] = {}
        manifest = item.join(MANIFEST)
        if use_ocdbt is not False and manifest.is_file():
            self.values = self._from_index(manifest)
        elif use_ocdbt:
            parts = [name for name in item.names() if name.startswith("ocdbt.process_")]
            raise FormatError(
                "the index of the arrays is missing" + (": what the processes wrote was not put together" if parts else ""),
                path=item, expected=MANIFEST, found=", ".join(parts[:3]) or None,
            )  # fmt: skip
        else:
            self.values = self._from_files()

    def fault(self, value: Value) -> str | None:
        """Why `value` cannot be read: its file is not there, is shorter, or leads elsewhere; None when it can."""
        if value.inline is not None:
            return None
        name = value.file
        if name not in self.sizes and name not in self._faults:
            try:
                check_within(self.item.join(name), self.item)
                self.sizes[name] = self.item.join(name).size()
            except CkptkitError as error:
                self._faults[name] = f"{name}: {error.problem}"
        if name in self._faults:
            return self._faults[name]
        if value.offset + value.length > self.sizes[name]:
            return f"{name} is cut short: {value.offset + value.length} bytes are needed, {self.sizes[name]} are there"
        return None

    def open(self, value: Value) -> tuple[Storage, int]:
        """What holds `value`, which the caller closes, and where in it the value begins."""
        if value.inline is not None:
            return Memory(self.item.text, value.inline), 0
        return self.item.join(value.file).open(), value.offset

    def _from_index(self, manifest: Address) -> dict[str, Value]:
        check_within(manifest, self.item)
        with ExitStack() as opened:
            storages: dict[str, Storage] = {}

            def data_file(name: str) -> Storage:
                if name not in storages:
                    at = self.item.join(name)
                    check_within(at, self.item)
                    if len(storages) >= _MOST_OPEN:
                        storages.pop(next(iter(storages))).close()
                    storages[name] = at.open()
                    opened.callback(storages[name].close)
                return storages[name]

            storage = manifest.open()
            opened.callback(storage.close)
            return read_entries(storage, data_file)

    def _from_files(self) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name in self.item.files_below():
            key = name.replace("\\", "/")
            if "/" not in key or key.startswith(_OTHERS):
                continue
            if len(values) >= MAX_ENTRIES:
                raise LimitError("the folder has too many files", path=self.item, expected=f"at most {MAX_ENTRIES}")
            at = self.item.join(name)
            try:
                check_within(at, self.item)
                self.sizes[name] = at.size()
            except CkptkitError as error:
                self._faults[name] = f"{name}: {error.problem}"
            values[key] = Value(name, 0, self.sizes.get(name, 0))
        return values
