"""What a person types becomes an address once: a name, and the store in which it is.

What counts as a URL is decided here and nowhere else. Everything above asks an `Address`, without knowing whether it
leads to this machine's file system or to a store that fsspec knows. Names are text: pathlib drops a final slash, which
is the place of a bundle whose name is empty, and makes one slash of two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from ckptkit.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ckptkit.model import TensorSource
    from ckptkit.storage.bytes import Storage

T = TypeVar("T")

# Two characters at least: `c:` is a drive. Several schemes are a chain, as fsspec has them (`simplecache::s3://…`).
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+::)*(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_OF_THIS_MACHINE = ("file://", "local://")


class Store(Protocol):
    """Files or objects by name. A path that leads nowhere, or where one may not look, is neither file nor folder."""

    @property
    def distant(self) -> bool:
        """Whether it is a store behind a network rather than this machine's file system."""

    def is_file(self, path: str) -> bool:
        """Whether `path` is a regular file or an object."""

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a folder, or a prefix under which there are objects."""

    def size(self, path: str) -> int:
        """Bytes of the file `path`.

        Raises:
            NotFoundError: nothing is there.
            CkptkitError: it is something else, or may not be looked at.
        """

    def versions(self, paths: Sequence[str]) -> list[str]:
        """For each file a short text that changes when it is replaced or rewritten; one that is not there has its own."""

    def open(self, path: str) -> Storage:
        """The file `path` for reading by ranges; raises as `size` does."""

    def list_folder(self, path: str) -> list[str]:
        """Names in the folder `path`, sorted; an error when it is none or may not be read."""

    def files_below(self, folder: str) -> Iterator[str]:
        """Paths, from `folder` on, of all files in it and below."""

    def folder_of(self, path: str) -> str:
        """The folder in which `path` lies."""

    def base_name(self, path: str) -> str:
        """The last part of `path`; empty for a folder written with a slash."""

    def join(self, folder: str, name: str) -> str:
        """`name`, which may be a path, inside `folder`."""

    def tail(self, path: str) -> str:
        """What follows the name in `path` and is no part of it: a URL's query."""

    def lies_in(self, path: str, folder: str) -> bool:
        """Whether what `path` leads to, links followed, is below `folder`."""

    def absolute(self, path: str) -> str:
        """`path` so that it means the same in every process that sees the same files; links stay links."""

    def pinned(self, source: TensorSource) -> TensorSource:
        """`source`, which was opened here, so that it raises when it is closed and a file of it is another by then."""

    def confirm(self) -> None:
        """Raise when a file that was looked at here is another one by now, where that is not noticed by reading it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A name in a store: of a file, of a folder, of what several files' names begin with, or of nothing yet.

    Attributes:
        text: the name as the store takes it.
        store: where that is.
    """

    text: str
    store: Store = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def base(self) -> str:
        """The last part of the name; empty for a folder written with a slash."""
        return self.store.base_name(self.text)

    @property
    def folder(self) -> Address:
        """The folder in which it lies."""
        return Address(self.store.folder_of(self.text), self.store)

    @property
    def front(self) -> str:
        """The text up to the end of the name, without what follows and is no part of it."""
        return self.text.removesuffix(self.store.tail(self.text))

    def fronted(self, front: str) -> Address:
        """Another name that ends as this one's text does."""
        return Address(front + self.store.tail(self.text), self.store)

    def join(self, name: str) -> Address:
        """`name`, which may be a path, inside this folder."""
        return Address(self.store.join(self.text, name), self.store)

    def beside(self, name: str) -> Address:
        """The file `name` in the same folder."""
        return self.folder.join(name)

    def add(self, ending: str) -> Address:
        """With `ending` at the end of the name."""
        return self.fronted(self.front + ending) if ending else self

    def ends_with(self, ending: str) -> bool:
        """Whether the name ends in `ending`."""
        return self.front.endswith(ending)

    def without(self, ending: str) -> Address:
        """Without `ending`, if the name ends so."""
        return self.fronted(self.front.removesuffix(ending))

    def is_file(self) -> bool:
        """Whether a regular file or an object is there; nothing is opened."""
        return self.store.is_file(self.text)

    def is_folder(self) -> bool:
        """Whether it is a folder (links followed), or a prefix under which there are objects."""
        return self.store.is_folder(self.text)

    def size(self) -> int:
        """Bytes of the file; nothing is opened.

        Raises:
            NotFoundError: nothing is there, or a link leads nowhere.
            CkptkitError: it is a folder, FIFO, device or socket, or may not be looked at.
        """
        return self.store.size(self.text)

    def names(self) -> list[str]:
        """Names in the folder, sorted; an error when it is none or may not be read."""
        return self.store.list_folder(self.text)

    def files_below(self) -> Iterator[str]:
        """Paths, from the folder on, of all files in it and below, and of links to folders, which are not followed."""
        return self.store.files_below(self.text)

    def open(self) -> Storage:
        """The file for reading by ranges.

        Raises:
            NotFoundError: nothing is there.
            CkptkitError: it is no regular file, or cannot be read.
        """
        return self.store.open(self.text)

    def read_with(self, reader: Callable[[Storage], T]) -> T:
        """What `reader` makes of the open file, which is closed if it fails, and otherwise its to close.

        Raises:
            CkptkitError: as `open`, and what `reader` raises.
        """
        storage = self.open()
        try:
            return reader(storage)
        except BaseException:
            storage.close()
            raise

    def lies_in(self, folder: Address) -> bool:
        """Whether what it leads to, links followed, is below `folder`; names in a store have no links."""
        return self.store.lies_in(self.text, folder.text)

    def absolute(self) -> Address:
        """So that it means the same in every process that sees the same files."""
        return Address(self.store.absolute(self.text), self.store)


_LOCAL = LocalStore()


def address(typed: str | os.PathLike[str]) -> Address:
    """The address that `typed` is: a path of this machine, a `file://` URL, or one that leads elsewhere.

    A store behind a network remembers what it has been asked: the first look at a name stands for all questions about
    it that are put through the same address, or those made from it.
    """
    text = os.fspath(typed)
    scheme = next((scheme for scheme in _OF_THIS_MACHINE if text.startswith(scheme)), None)
    if scheme is not None:
        return Address(text if _is_folder_here(text) else text.removeprefix(scheme), _LOCAL)
    if not _URL.match(text) or _is_folder_here(text):
        return Address(text, _LOCAL)
    from ckptkit.storage.remote.store import RemoteStore

    return Address(text, RemoteStore())


def _is_folder_here(text: str) -> bool:
    """Whether there is a folder here that is called as the URL begins (`s3:`), which is then what is meant."""
    return os.path.lexists(text[: text.index("/")])
