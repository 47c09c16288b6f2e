"""Where a path leads: this machine's file system, or a store that fsspec knows.

What counts as a URL is decided here and nowhere else, and everything above asks a `Store` without knowing which.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol

from ckptkit.formats.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.storage import Storage

# Two characters at least: `c:` is a drive. Several schemes are a chain, as fsspec has them (`simplecache::s3://…`).
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+::)*(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_OF_THIS_MACHINE = ("file://", "local://")


class Store(Protocol):
    """Files or objects by name. A path that leads nowhere, or where one may not look, is neither file nor folder."""

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

    def version(self, path: str) -> str:
        """A short text that changes when the file `path` is replaced or rewritten; raises as `size` does."""

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


_LOCAL = LocalStore()


def is_url(path: str) -> bool:
    """Whether `path` leads out of this machine's file system.

    A URL is a scheme of two letters or more and `://`. `file://` is this machine, and so is everything else of that
    form when there is a folder here that is called as it begins (`s3:`).
    """
    found = _URL.match(path)
    return bool(found) and not path.startswith(_OF_THIS_MACHINE) and not os.path.lexists(path[: path.index("/")])


def plain(path: str) -> str:
    """`path` without the `file://` of a URL that names a file of this machine."""
    scheme = next((scheme for scheme in _OF_THIS_MACHINE if path.startswith(scheme)), None)
    return path if scheme is None or os.path.lexists(path[: path.index("/")]) else path.removeprefix(scheme)


def absolute(path: str) -> str:
    """`path` so that it means the same in every process that sees the same files; links stay links."""
    return path if is_url(path) else os.path.abspath(plain(path))  # noqa: PTH100


def store_of(path: str) -> Store:
    """The store in which `path` is."""
    if not is_url(path):
        return _LOCAL
    from ckptkit.formats.remote.store import RemoteStore

    return RemoteStore()
