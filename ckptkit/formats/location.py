"""A checkpoint that was found, and everything that is known of it before it is opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.formats.registry import named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.registry import Format
    from ckptkit.model import Contents, TensorSource
    from ckptkit.storage.address import Address


@dataclass(frozen=True, slots=True)
class Location:
    """A checkpoint, made once from what the user typed; whatever is done with it later asks this, and no path again.

    Attributes:
        at: what its format's reader takes: a file, a bundle's prefix, a SavedModel's folder. It knows its store.
        format: the row of the format by which it is read. One that is told from others by the contents of a file is
            that of the container (`hdf5`).
        typed: as it was spelled, for messages.
        notes: what to tell of how it was found.
        state: the state file that led to it, or None.
    """

    at: Address
    format: Format
    typed: str
    notes: tuple[str, ...] = ()
    state: Address | None = None

    def files(self) -> tuple[Address, ...]:
        """Every file that reading it may read, whether it is there or not."""
        files: tuple[Address, ...] = tuple(self.format.reader().files(self.at))
        return (*files, self.state) if self.state else files

    def file_with(self, ending: str) -> Address | None:
        """The one of its files that is there and whose name ends so, or None."""
        return next((file for file in self.files() if file.ends_with(ending) and file.is_file()), None)

    def version(self) -> str:
        """A short text that changes when any of its files is replaced, rewritten, added or removed.

        It is the same in every process and on every machine that sees the same files. Of a local file it knows size, time
        of the last change and inode; of an object its size and what the store gives (ETag, generation, version, time).
        """
        return version_of_files(self.files())

    def open(self) -> tuple[Contents, TensorSource]:
        """What is there, and the source to read it from, which the caller closes.

        Of a checkpoint in a distant store the source raises when it is closed and a file of it is another one by then.

        Raises:
            CkptkitError: it cannot be read.
        """
        contents, source = self.format.reader().open(self.at)
        return replace(contents, notes=(*self.notes, *contents.notes)), self.at.store.pinned(source)


def version_of_files(files: Iterable[Address]) -> str:
    """The version of these files together, all of one store; one that is not there counts too."""
    listed = list(files)
    versions = listed[0].store.versions([file.text for file in listed]) if listed else []
    lines = sorted(f"{file.base}\0{version}" for file, version in zip(listed, versions, strict=True))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def location_of(format: str, at: Address) -> Location:  # noqa: A002
    """The checkpoint of a known format at a known place."""
    return Location(at, named(format), at.text)
