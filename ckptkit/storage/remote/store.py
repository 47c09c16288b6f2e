"""The `Store` of URLs: what a name is, what lies in a folder, and whether any of it has changed since."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError, NotFoundError, UsageError
from ckptkit.storage.local import ABSENT
from ckptkit.storage.remote import urls
from ckptkit.storage.remote.client import DENIED, changed, run
from ckptkit.storage.remote.opening import open_access, open_stand_in
from ckptkit.storage.remote.storage import RemoteStorage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.model import TensorSource
    from ckptkit.storage.remote.access import Access, Look

_MOST_FILES = 10_000  # in a folder and below: a SavedModel has some tens


class RemoteStore:
    """Objects that fsspec finds. Names that a store gives are data: what leads out of the folder is left out.

    The first look at a name stands for all questions about it. Goes to another process without what it has seen.

    Args:
        stand_ins: URL -> a file of this machine that is taken for what is there: an output can be opened before all of
            it is in its place.
    """

    distant = True

    def __init__(self, stand_ins: Mapping[str, str] | None = None) -> None:
        self._stand_ins = stand_ins or {}
        self._seen: dict[str, Look] = {}

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[Mapping[str, str]]]:
        return RemoteStore, (self._stand_ins,)

    def _access(self, url: str) -> Access:
        local = self._stand_ins.get(url)
        return open_access(url) if local is None else open_stand_in(local, url)

    def _look(self, url: str) -> Look:
        if url not in self._seen:
            self._seen[url] = run(self._access(url).look())
        return self._seen[url]

    def _states(self, paths: Iterable[str]) -> list[str | None]:
        """The state in which each URL is now, None where nothing is; all asked for at once."""

        async def look_at_all() -> list[Look]:
            return list(await asyncio.gather(*(access.look() for access in accesses)))

        accesses = [self._access(url) for url in paths]
        return [found.state if found.kind == "file" else None for found in run(look_at_all())]

    def is_file(self, path: str) -> bool:
        """As `Store.is_file`; a store that does not answer is an error and not a no."""
        return self._kind(path) == "file"

    def is_folder(self, path: str) -> bool:
        """As `Store.is_folder`."""
        return self._kind(path) == "folder"

    def size(self, path: str) -> int:
        """As `Store.size`."""
        return self._file(path).size

    def versions(self, paths: Sequence[str]) -> list[str]:
        """As `Store.versions`; never what was seen before."""
        try:
            return [state or ABSENT for state in self._states(paths)]
        except CkptkitError:  # one that may not be looked at; the others count all the same
            return [self._version(path) for path in paths]

    def _version(self, path: str) -> str:
        try:
            return self._states([path])[0] or ABSENT
        except CkptkitError as error:
            return error.problem

    def open(self, path: str) -> RemoteStorage:
        """As `Store.open`."""
        return RemoteStorage(path, self._access(path), self._file(path))

    def list_folder(self, path: str) -> list[str]:
        """As `Store.list_folder`."""
        return sorted({name.rstrip("/") for name in self._names(path)})

    def files_below(self, folder: str) -> Iterator[str]:
        """As `Store.files_below`."""
        pending, found = [""], 0
        while pending:
            at = pending.pop()
            here = urls.join(folder, at) if at else folder
            for name in sorted(self._names(here)):
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

    def lies_in(self, path: str, folder: str) -> bool:  # noqa: ARG002
        """As `Store.lies_in`: objects have no links."""
        return True

    def absolute(self, path: str) -> str:
        """As `Store.absolute`."""
        return path

    def pinned(self, source: TensorSource) -> TensorSource:
        """As `Store.pinned`."""
        from ckptkit.storage.remote.pinned import Pinned

        return Pinned(source, self.confirm)

    def confirm(self) -> None:
        """As `Store.confirm`: every object is asked for once more."""
        seen = {url: look.state for url, look in self._seen.items() if look.kind == "file"}
        for url, state in zip(seen, self._states(seen), strict=True):
            if state != seen[url]:
                raise changed(url)

    def _kind(self, url: str) -> str | None:
        try:
            return self._look(url).kind
        except CkptkitError as error:
            if error.problem == DENIED:  # as for a local file that may not be looked at
                return None
            raise

    def _file(self, url: str) -> Look:
        if "…" in url:
            raise UsageError("the secrets of this URL were left out when it was written down", path=url)
        found = self._look(url)
        if found.kind == "folder":
            raise CkptkitError("only files are read", path=url, expected="a file", found="a folder")
        if found.kind is None:
            raise NotFoundError("no such object", path=url)
        return found

    def _names(self, folder: str) -> list[str]:
        """Names of what lies in `folder` itself; a slash at the end where the store says that it is a folder in turn."""
        begin, path, tail = urls.split(folder)
        access = self._access(folder if not path or path.endswith("/") else f"{begin}{path}/{tail}")
        return [name for name in run(access.names()) if _is_plain(name.removesuffix("/"))]


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
