"""HTTP servers: ranges, on condition that the object is the one that was seen, and a refusal to fetch more than that.

Source: RFC 9110, sections 8.8 (validators), 13.1 (preconditions), 14 (range requests).
"""

from __future__ import annotations

import errno
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from ckptkit.errors import CkptkitError, UnsupportedError
from ckptkit.storage.remote.access import Look, Target
from ckptkit.storage.remote.client import PassingError, changed, patience, persistently
from ckptkit.storage.remote.traffic import request, traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

# What comes along with a look: most indexes, and of larger files what tells their kind.
HEAD_BYTES = 16 << 10

# A server without ranges is put up with for files of this size.
_WITHOUT_RANGES = 4 << 20
_LARGEST_PAGE = 4 << 20
_BUFFER_BYTES = 1 << 20

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_OVERLOADED = (408, 425, 429, 500, 502, 503, 504)


class HttpAccess:
    """An object of an HTTP server."""

    def __init__(self, url: str, fs: Any, path: str) -> None:
        self.url = url
        self._fs = fs
        self._path = path

    async def look(self) -> Look:
        """As `Access.look`: by a request for the first bytes, which also presigned URLs allow."""
        return await persistently(self.url, self._look)

    async def _look(self) -> Look:
        async with self._get(0, HEAD_BYTES) as answer:
            if answer.status == 404:
                return Look(None)
            if answer.status == 416 and answer.headers.get("Content-Range") == "bytes */0":
                return Look("file", 0, f"0-{_state(answer.headers)}")
            self._refuse(answer.status)
            if answer.url.path.endswith("/"):
                return Look("folder")
            if answer.status == 206:
                start, stop, size = self._range(answer.headers)
                if start != 0 or stop != min(HEAD_BYTES, size):
                    raise self._confused(answer.headers.get("Content-Range"))
                head = await _body(answer, stop)
                return self._file(answer, size, head, whole=False)
            length = answer.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() else -1
            if not 0 <= size <= _WITHOUT_RANGES:
                raise UnsupportedError(
                    "the server gives no ranges of files, only all of it", path=self.url,
                    found=f"{size} bytes" if size >= 0 else "a file of unknown size", hint="Download it first",
                )  # fmt: skip
            return self._file(answer, size, await _body(answer, size), whole=True)

    def _file(self, answer: Any, size: int, head: bytes, *, whole: bool) -> Look:
        tag = answer.headers.get("ETag", "")
        # A weak tag fits no condition, and the first of several servers knows nothing of the last one's.
        strong = tag if tag.startswith('"') and not answer.history else None
        return Look("file", size, f"{size}-{_state(answer.headers)}", strong, head, whole)

    async def fetch(self, seen: Look, offset: int, target: Target) -> None:
        """As `Access.fetch`; what was received before a connection broke is kept."""
        done = 0

        async def attempt() -> None:
            nonlocal done
            async with self._get(offset + done, offset + target.nbytes, seen.etag) as answer:
                if answer.status == 412:
                    raise changed(self.url)
                self._refuse(answer.status)
                if answer.status != 206:
                    raise UnsupportedError("the server gives no ranges of files, only all of it", path=self.url)
                start, stop, size = self._range(answer.headers)
                if f"{size}-{_state(answer.headers)}" != seen.state:
                    raise changed(self.url)
                if (start, stop) != (offset + done, offset + target.nbytes):
                    raise self._confused(answer.headers.get("Content-Range"))
                async for piece in _pieces(answer):
                    if len(piece) > target.nbytes - done:
                        raise PassingError(errno.EIO, "more came than was asked for")
                    target.put(done, piece)
                    done += len(piece)
            if done < target.nbytes:
                raise PassingError(errno.EIO, f"{done} of {target.nbytes} bytes came")

        await persistently(self.url, attempt, target.nbytes)

    async def names(self) -> list[str]:
        """As `Access.names`: the links of the page that a server makes for a folder, as far as they lead into it."""

        async def attempt() -> list[str]:
            async with self._get(0, None) as answer:
                if answer.status == 404:
                    raise FileNotFoundError
                self._refuse(answer.status)
                if not answer.headers.get("Content-Type", "").startswith("text/html"):
                    raise UnsupportedError("the server does not list its folders", path=self.url)
                page = await _body(answer, None)
                return _links(page.decode("utf-8", "replace"), str(answer.url))

        return await persistently(self.url, attempt)

    def _get(self, start: int, stop: int | None, etag: str | None = None) -> AbstractAsyncContextManager[Any]:
        """One GET, of bytes `start` to `stop` unless that is None."""
        from contextlib import asynccontextmanager

        import aiohttp

        headers = {"Accept-Encoding": "identity", **self._fs.kwargs.get("headers", {})}
        if stop is not None:
            headers["Range"] = f"bytes={start}-{stop - 1}"
        if etag:
            headers["If-Match"] = etag
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=patience.connect, sock_read=patience.silence, connect=patience.total
        )
        options = {**self._fs.kwargs, "headers": headers, "timeout": timeout, "read_bufsize": _BUFFER_BYTES}

        @asynccontextmanager
        async def get() -> AsyncIterator[Any]:
            session = await self._fs.set_session()
            async with request(), session.get(self._fs.encode_url(self._path), **options) as answer:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise UnsupportedError("the server compresses what it sends", path=self.url)
                yield answer

        return get()

    def _refuse(self, status: int) -> None:
        if status in _OVERLOADED:
            raise PassingError(errno.EIO, f"HTTP status {status}")
        if status in (401, 403):
            raise PermissionError(errno.EACCES, f"HTTP status {status}")
        if status == 404:
            raise FileNotFoundError
        if status >= 300:
            raise CkptkitError("the server refuses", path=self.url, found=f"HTTP status {status}")

    def _range(self, headers: Mapping[str, str]) -> tuple[int, int, int]:
        """(first byte, byte after the last, size of all) that an answer says it has."""
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if not found or max(map(len, found.groups())) > 20:
            raise self._confused(headers.get("Content-Range"))
        start, last, size = map(int, found.groups())
        return start, last + 1, size

    def _confused(self, found: object) -> CkptkitError:
        return CkptkitError("the server answers with another range than was asked for", path=self.url, found=found)


def _state(headers: Mapping[str, str]) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


async def _pieces(answer: Any) -> AsyncIterator[bytes]:
    async for piece in answer.content.iter_any():
        traffic.received += len(piece)
        yield piece


async def _body(answer: Any, size: int | None) -> bytes:
    """All of a small answer: exactly `size` bytes, or as many as come."""
    data = bytearray()
    async for piece in _pieces(answer):
        data += piece
        if len(data) > (_LARGEST_PAGE if size is None else size):
            raise PassingError(errno.EIO, "more came than was announced")
    if size is not None and len(data) < size:
        raise PassingError(errno.EIO, f"{len(data)} of {size} bytes came")
    return bytes(data)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _links(page: str, base: str) -> list[str]:
    """Names of what `page`, the listing of the folder `base`, links to in that folder."""
    parser = _Links()
    parser.feed(page)
    folder = urlsplit(base).path
    folder = folder[: folder.rfind("/") + 1]
    names = []
    for link in parser.found:
        path = urlsplit(urljoin(base, link)).path
        if path.startswith(folder) and urlsplit(link).query == "":
            names.append(unquote(path[len(folder) :], errors="surrogateescape"))
    return names
