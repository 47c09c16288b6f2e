"""One object in one store: looking at it, and fetching ranges of the state that was seen."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ckptkit.errors import CkptkitError
from ckptkit.storage.remote.client import PassingError, changed, persistently
from ckptkit.storage.remote.traffic import request, traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

# By what stores tell one state of an object from another, in the spellings of s3fs, gcsfs, adlfs, huggingface_hub,
# the memory and other file systems of fsspec.
_STATE_KEYS = (
    "ETag", "etag", "generation", "VersionId", "md5Hash", "content_md5", "md5", "crc32c", "blob_id", "oid",
    "LastModified", "last_modified", "updated", "mtime", "mtimeMs", "modified", "created", "CRC",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What a store said of a name.

    Attributes:
        kind: None where nothing is.
        size: bytes.
        state: a text that changes when the object does.
        etag: for conditional requests, where the store has them; else None.
        head: the first bytes, if they came along.
        whole: whether `head` is all there is, from a server that gives no ranges.
    """

    kind: Literal["file", "folder"] | None
    size: int = 0
    state: str = ""
    etag: str | None = None
    head: bytes = b""
    whole: bool = False


class Target:
    """Where the bytes of a range go: one buffer after the other."""

    def __init__(self, *buffers: memoryview) -> None:
        self._buffers = buffers
        self.nbytes = sum(map(len, buffers))

    def put(self, at: int, piece: bytes | memoryview) -> None:
        """Put `piece` at byte `at` of the range."""
        view = memoryview(piece)
        for buffer in self._buffers:
            if at < len(buffer):
                count = min(len(view), len(buffer) - at)
                buffer[at : at + count] = view[:count]
                view, at = view[count:], at + count
            at -= len(buffer)


class Access(Protocol):
    """An object of one store; its methods run on fsspec's loop."""

    async def look(self) -> Look:
        """What is there now; raises for everything but absence."""

    async def fetch(self, seen: Look, offset: int, target: Target) -> None:
        """Fill `target` from byte `offset` of the object that was seen.

        Raises:
            CkptkitError: it is another one by now, or cannot be read.
        """

    async def names(self) -> list[str]:
        """Names of what the store says lies in the folder, unchecked; those of folders end in a slash."""


class PlainAccess:
    """Any file system of fsspec, by the calls that all of them have."""

    def __init__(self, url: str, fs: Any, path: str) -> None:
        self.url = url
        self.fs = fs
        self.path = path

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Method `name` of the file system: awaited where it is made for that, in a thread of its own where not."""
        async with request():
            if self.fs.async_impl:
                return await getattr(self.fs, f"_{name}")(*arguments, **options)
            return await asyncio.to_thread(getattr(self.fs, name), *arguments, **options)

    async def look(self) -> Look:
        """As `Access.look`."""

        async def attempt() -> Look:
            self.fs.invalidate_cache()  # a listing from before may know another state
            try:
                return parse_info(await self.call("info", self.path))
            except (FileNotFoundError, NotADirectoryError):
                return Look(None)

        return await persistently(self.url, attempt)

    async def fetch(self, seen: Look, offset: int, target: Target) -> None:
        """As `Access.fetch`."""

        async def attempt() -> None:
            data = await self.get(seen, offset, offset + target.nbytes)
            if len(data) != target.nbytes:
                raise PassingError(errno.EIO, f"{len(data)} of {target.nbytes} bytes came")
            target.put(0, data)

        await persistently(self.url, attempt, target.nbytes)

    async def get(self, seen: Look, start: int, stop: int) -> bytes:  # noqa: ARG002
        """Bytes `start` to `stop` by one request."""
        data: bytes = await self.call("cat_file", self.path, start=start, end=stop)
        traffic.received += len(data)
        return data

    async def names(self) -> list[str]:
        """As `Access.names`."""

        async def attempt() -> list[str]:
            self.fs.invalidate_cache()
            listed = await self.call("ls", self.path.rstrip("/") or self.path, detail=True)
            return [_inside(self.path, info) for info in listed]

        return await persistently(self.url, attempt)


class S3Access(PlainAccess):
    """S3 and what speaks its protocol: every range is asked for on condition that the object is the one that was seen."""

    async def get(self, seen: Look, start: int, stop: int) -> bytes:
        """As `PlainAccess.get`."""
        bucket, key, version = self.fs.split_path(self.path)
        wanted = {"VersionId": version} if version else {}
        if seen.etag:
            wanted["IfMatch"] = seen.etag
        async with request():
            try:
                answer = await self.fs._call_s3(  # what fsspec calls the awaitable form of `call_s3`
                    "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **wanted
                )
            except OSError as error:
                if "pre-condition" in str(error).lower() or "precondition" in str(error).lower():
                    raise changed(self.url) from None
                raise
            if not answer.get("ContentRange"):
                answer["Body"].close()
                raise CkptkitError("the store gives no ranges of objects", path=self.url)
            async with answer["Body"] as body:
                data: bytes = await body.read()
        traffic.received += len(data)
        return data


def _inside(folder: str, info: Mapping[str, Any]) -> str:
    """The name that `info` has in `folder`; empty for what does not lie there."""
    begin, name = folder.strip("/"), str(info["name"]).strip("/")
    if begin and not name.startswith(f"{begin}/"):
        return ""
    return name[len(begin) :].lstrip("/") + ("/" if info.get("type") == "directory" else "")


def parse_info(info: Mapping[str, Any]) -> Look:
    """What an fsspec file system's `info` says."""
    if info.get("type") == "directory":
        return Look("folder")
    size = info.get("size")
    if not isinstance(size, int) or size < 0:
        raise CkptkitError("the store does not tell how large it is", path=str(info.get("name")))
    state = "-".join(f"{info[key]}" for key in _STATE_KEYS if info.get(key))
    etag = info.get("ETag")
    return Look("file", size, f"{size}-{state}", etag if isinstance(etag, str) and etag else None)
