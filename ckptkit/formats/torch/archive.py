"""Zip archives of `torch.save` (since PyTorch 1.6) and of TorchScript.

`NAME/data.pkl` is the pickle, `NAME/data/KEY` are the storages, `NAME/byteorder` says in which order their bytes lie, and
`NAME/version` is 3. Source: torch/serialization.py, `_save` and `_load`; caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError, UnsupportedError
from ckptkit.formats.torch.feed import MAX_BYTES, Feed
from ckptkit.formats.torch.pickles import Value, read_object
from ckptkit.formats.torch.rebuild import Stored, storage_of
from ckptkit.formats.torch.source import Held
from ckptkit.formats.torch.storages import Opened
from ckptkit.formats.zip.members import STORED, Member, check_member, members, open_member
from ckptkit.storage.bytes import Window, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.storage.bytes import Storage

PICKLE = "data.pkl"
# What a TorchScript archive has besides (torch/csrc/jit/serialization/export_module.cpp).
_SCRIPT = ("constants.pkl", "code/")

# What compressed members together may inflate to: PyTorch compresses none, but people pack archives again.
_INFLATED_ANYWAY = 512 << 20
_INFLATED_PER_BYTE = 20


def open_archive(storage: Storage, *, packed: bool = True) -> Opened:
    """The value of an archive's pickle, and its storages; without `packed` members may not be compressed.

    Raises:
        FormatError: no archive of PyTorch, or a member is damaged.
        UnsupportedError: another byte order than big or little.
        LimitError: members that inflate to too much, or too long a pickle.
    """
    held = members(storage)
    if not packed and any(member.method != STORED for member in held.values()):
        raise UnsupportedError("compressed members, which PyTorch does not write", path=storage.name)
    _check_budget(storage, held)
    prefix = prefix_of(storage, held)
    order = _text(storage, held.get(f"{prefix}byteorder")) or "little"
    if order not in ("little", "big"):
        raise UnsupportedError("an unknown byte order", path=storage.name, key=f"{prefix}byteorder", found=order)
    member = held[prefix + PICKLE]
    checked = any(each.crc for each in held.values() if each.size)
    if checked:
        check_member(storage, member)
    inner = open_member(storage, member, MAX_BYTES)
    try:
        pickle = read_object(Feed(inner))
    finally:
        inner.close()
    storages = _Storages(storage, held, f"{prefix}data/", swapped=order == "big", checked=checked)
    script = any(name.startswith(tuple(prefix + part for part in _SCRIPT)) for name in held)
    notes = () if checked else ("the archive was saved without checksums",)
    if script:
        notes = ("a TorchScript archive: its code is not looked at", *notes)
    return Opened(
        pickle.value, pickle.names, storages.persist, storages.found, storages.problems, "TorchScript" if script else "zip",
        checksums=checked, swapped=order == "big", notes=notes, opened=[storages, storage],
    )  # fmt: skip


def prefix_of(storage: Storage, held: Mapping[str, Member]) -> str:
    """The folder, with its slash, in which the archive's one pickle lies.

    Raises:
        FormatError: there is none, or several.
    """
    found = [name for name in held if name.rpartition("/")[2] == PICKLE and name.count("/") < 2]
    if len(found) != 1:
        raise FormatError(
            f"an archive of PyTorch has one {PICKLE}", path=storage.name, found=", ".join(found[:3]) or "none"
        )
    return found[0].removesuffix(PICKLE)


def _check_budget(storage: Storage, held: Mapping[str, Member]) -> None:
    declared = sum(member.size for member in held.values() if member.method != STORED)
    allowed = max(_INFLATED_ANYWAY, _INFLATED_PER_BYTE * storage.size)
    if declared > allowed:
        raise LimitError(
            "the compressed members inflate to too much", path=storage.name, expected=f"at most {allowed} bytes",
            found=declared,
        )  # fmt: skip


def _text(storage: Storage, member: Member | None) -> str:
    """The text of a short member; "" where there is none."""
    if member is None or member.method != STORED or member.size > 64:
        return ""
    return bytes(read(storage, member.offset, member.size)).decode("ascii", "replace").strip()


class _Storages:
    """The storages of an archive that its pickle refers to, found as it does."""

    def __init__(
        self, storage: Storage, held: Mapping[str, Member], folder: str, *, swapped: bool, checked: bool
    ) -> None:
        self.found: dict[str, Held] = {}
        self.problems: dict[str, str] = {}
        self._storage = storage
        self._members = held
        self._folder = folder
        self._swapped = swapped
        self._checked = checked
        self._inflated: list[Storage] = []

    def persist(self, value: Value) -> Stored | None:
        """`("storage", class, key, location, items)`: a storage by its key."""
        if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage":
            return None
        stored = storage_of(value[1], value[2], value[4])
        if stored.key not in self.found and stored.key not in self.problems:
            self._find(stored.key)
        return stored

    def _find(self, key: str) -> None:
        member = self._members.get(self._folder + key)
        if member is None:
            self.problems[key] = f"the archive has no storage {key}"
            return
        if member.method == STORED:
            bytes_: Storage = Window(self._storage, self._storage.name, member.offset, member.size)
            self.found[key] = Held(bytes_, self._swapped, member.crc if self._checked else None, member.name)
            return
        inflated = open_member(self._storage, member, member.size)  # verified; the sum is within the budget
        self._inflated.append(inflated)
        self.found[key] = Held(inflated, self._swapped, member.crc, member.name)

    def close(self) -> None:
        for each in self._inflated:
            each.close()
