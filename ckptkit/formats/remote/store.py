"""The `Store` of URLs: what a name is, what lies in a folder, and whether any of it has changed since."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError, NotFoundError, UsageError
from ckptkit.formats.remote import urls
from ckptkit.formats.remote.access import Look, open_access
from ckptkit.formats.remote.client import DENIED, run
from ckptkit.formats.remote.storage import RemoteStorage

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_FILES = 10_000  # in a folder and below: a SavedModel has some tens

_looks: ContextVar[dict[str, Look] | None] = ContextVar("looks", default=None)


@contextmanager
def looking_once() -> Iterator[dict[str, Look]]:
    """Within the block the first look at a name stands for all questions about it.

    Yields:
        What was seen so far, URL by URL.
    """
    seen: dict[str, Look] = {}
    token = _looks.set(seen)
    try:
        yield seen
    finally:
        _looks.reset(token)


def look(url: str) -> Look:
    """What is at `url`."""
    seen = _looks.get()
    if seen is None:
        return run(open_access(url).look())
    if url not in seen:
        seen[url] = run(open_access(url).look())
    return seen[url]


def states(paths: Iterable[str]) -> list[str | None]:
    """The state in which each URL is now, None where nothing is; all asked for at once."""

    async def look_at_all() -> list[Look]:
        return list(await asyncio.gather(*(access.look() for access in accesses)))

    accesses = [open_access(url) for url in paths]
    return [found.state if found.kind == "file" else None for found in run(look_at_all())]


class RemoteStore:
    """Objects that fsspec finds. Names that a store gives are data: what leads out of the folder is left out."""

    def is_file(self, path: str) -> bool:
        """As `Store.is_file`; a store that does not answer is an error and not a no."""
        return _kind(path) == "file"

    def is_folder(self, path: str) -> bool:
        """As `Store.is_folder`."""
        return _kind(path) == "folder"

    def size(self, path: str) -> int:
        """As `Store.size`."""
        return _file(path).size

    def version(self, path: str) -> str:
        """As `Store.version`; never what was seen before."""
        state = states([path])[0]
        if state is None:
            raise NotFoundError("no such object", path=path)
        return state

    def open(self, path: str) -> RemoteStorage:
        """As `Store.open`."""
        return RemoteStorage(path, open_access(path), _file(path))

    def list_folder(self, path: str) -> list[str]:
        """As `Store.list_folder`."""
        return sorted({name.rstrip("/") for name in _names(path)})

    def files_below(self, folder: str) -> Iterator[str]:
        """As `Store.files_below`."""
        pending, found = [""], 0
        while pending:
            at = pending.pop()
            here = urls.join(folder, at) if at else folder
            for name in sorted(_names(here)):
                inside = f"{at}/{name.rstrip('/')}" if at else name.rstrip("/")
                found += 1
                if found > _MOST_FILES:
                    raise LimitError("too many files in the folder", path=folder, expected=f"at most {_MOST_FILES}")
                path = urls.join(folder, inside)
                if name.endswith("/") or self.is_folder(path):
                    pending.append(inside)
                else:
                    yield inside

    def folder_of(self, path: str) -> str:
        """As `Store.folder_of`."""
        return urls.folder_of(path)

    def base_name(self, path: str) -> str:
        """As `Store.base_name`."""
        return urls.base_name(path)

    def join(self, folder: str, name: str) -> str:
        """As `Store.join`."""
        return urls.join(folder, name)

    def tail(self, path: str) -> str:
        """As `Store.tail`."""
        return urls.split(path)[2]


def _kind(url: str) -> str | None:
    try:
        return look(url).kind
    except CkptkitError as error:
        if error.problem == DENIED:  # as for a local file that may not be looked at
            return None
        raise


def _file(url: str) -> Look:
    if "…" in url:
        raise UsageError("the secrets of this URL were left out when it was written down", path=url)
    found = look(url)
    if found.kind == "folder":
        raise CkptkitError("only files are read", path=url, expected="a file", found="a folder")
    if found.kind is None:
        raise NotFoundError("no such object", path=url)
    return found


def _names(folder: str) -> list[str]:
    """Names of what lies in `folder` itself; a slash at the end where the store says that it is a folder in turn."""
    begin, path, tail = urls.split(folder)
    access = open_access(folder if not path or path.endswith("/") else f"{begin}{path}/{tail}")
    return [name for name in run(access.names()) if _is_plain(name.removesuffix("/"))]


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
