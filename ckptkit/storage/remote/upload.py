"""Putting finished local files in place in a store, each visible only when it is complete where the store can do that."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import CkptkitError, NotFoundError, UnsupportedError, UsageError, WriteError
from ckptkit.storage.remote.client import filesystem, run, translated
from ckptkit.storage.remote.opening import open_access
from ckptkit.storage.remote.store import RemoteStore
from ckptkit.storage.remote.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Parts of an upload: S3 takes from 5 MiB to 5 GiB, and 10,000 of them.
_PART_BYTES = 16 << 20
_MOST_PARTS = 9_000

# Of an object that is compared with a file.
_PIECE_BYTES = 8 << 20


def refuse_unwritable(url: str) -> None:
    """Raise, before any work is done, when nothing can be written where `url` is."""
    fs, _ = filesystem(url)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    if {"http", "https"} & set(protocols):
        raise UnsupportedError(
            "HTTP servers are read, not written to", path=url, hint="Write to a file, and upload that"
        )


def _unwatched(_nbytes: int) -> None:
    """For an upload that nobody watches or stops."""


def put(local: str, url: str, *, new: bool) -> None:
    """Upload the file `local` to `url`.

    Args:
        local: a finished file.
        url: its place.
        new: whether nothing may be there. Object stores with conditional writes hold that themselves.

    Raises:
        UsageError: something is there that came meanwhile.
        WriteError: the store refused, or has something else now.
    """
    try:
        _upload(local, url, new=new, told=_unwatched)
    except WriteError:
        if new:
            with suppress(CkptkitError):
                remove([url])  # of a store in which half an object can be seen
        raise
    try:
        _confirm(local, url)
    except WriteError:
        remove([url])
        raise


def put_shared(local: str, url: str, told: Callable[[int], object]) -> None:
    """As `put` for something new, which other processes may be uploading as well, or have: with the same bytes.

    Nothing is removed after a failure, since it may be another's, and what is there is replaced only if it is the
    beginning of `local`: left by a process that died, in a store in which half an object can be seen.

    Args:
        local: a finished file.
        url: its place.
        told: called before each part; what it raises ends the upload.

    Raises:
        UsageError: something else is there that came meanwhile.
        WriteError: as `put`.
    """
    try:
        _upload(local, url, new=True, told=told)
    except UsageError:
        there = _beginning_at(url, local)
        if there is None:
            raise
        if there < Path(local).stat().st_size:
            _upload(local, url, new=False, told=told)
    _confirm(local, url)


def _beginning_at(url: str, local: str) -> int | None:
    """How many bytes of `local` are at `url`; None when something else is."""
    with closing(RemoteStore().open(url)) as theirs, Path(local).open("rb") as ours:
        pieces = theirs.stream(0, theirs.size, memoryview(bytearray(_PIECE_BYTES)))
        return theirs.size if all(ours.read(len(piece)) == piece for piece in pieces) else None


def _upload(local: str, url: str, *, new: bool, told: Callable[[int], object]) -> None:
    fs, path = filesystem(url)
    if new:
        refuse_existing(url)
    try:
        _send(fs, local, path, new=new, told=told)
    except CkptkitError:
        raise
    except FileExistsError:
        raise came_meanwhile(url) from None
    except Exception as error:  # noqa: BLE001  # whatever the client library raises; see `client`
        problem = translated(error, url)
        raise WriteError("cannot be written to its store", path=url, found=problem.found or problem.problem) from None
    traffic.sent += Path(local).stat().st_size


def _confirm(local: str, url: str) -> None:
    """Raise `WriteError` unless what is at `url` is as large as `local`."""
    size = Path(local).stat().st_size
    found = run(open_access(url).look())
    if (found.kind, found.size) != ("file", size):
        raise WriteError("is not there as it was sent", path=url, expected=f"{size} bytes", found=found.size)


def refuse_existing(url: str) -> None:
    """Raise when there is something at `url`."""
    if run(open_access(url).look()).kind is not None:
        raise came_meanwhile(url)


def came_meanwhile(url: str) -> UsageError:
    """The error for an output that was not there when the work began."""
    return UsageError("the output exists by now: something else wrote it meanwhile", path=url)


def remove(paths: Iterable[str]) -> None:
    """Remove objects; those that are not there are no error.

    Raises:
        CkptkitError: the store refused.
    """
    for url in paths:
        fs, path = filesystem(url)
        try:
            fs.rm_file(path)
        except FileNotFoundError:
            continue
        except Exception as error:  # noqa: BLE001  # whatever the client library raises; see `client`
            problem = translated(error, url)
            if not isinstance(problem, NotFoundError):
                raise WriteError("cannot be removed from its store", path=url, found=problem.found) from None


def _send(fs: Any, local: str, path: str, *, new: bool, told: Callable[[int], object] = _unwatched) -> None:
    """Upload by one request, or by parts that become an object together, where the store has such a thing."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    traffic.requests += 1
    told(0)
    if "s3" not in protocols or not Path(local).stat().st_size:
        fs.put_file(local, path)
        return
    try:
        _send_parts(fs, local, path, "xb" if new else "wb", told)
    except OSError as error:  # a store that speaks S3's protocol without its conditional writes
        if not new or isinstance(error, FileExistsError) or "not implemented" not in str(error).lower():
            raise
        _send_parts(fs, local, path, "wb", told)


def _send_parts(fs: Any, local: str, path: str, mode: str, told: Callable[[int], object]) -> None:
    """A multi-part upload that is taken back when anything ends it early."""
    part = max(_PART_BYTES, -(-os.path.getsize(local) // _MOST_PARTS))  # noqa: PTH202
    target = fs.open(path, mode, block_size=part, autocommit=False)
    done = False
    try:
        with Path(local).open("rb") as source:
            while piece := source.read(part):
                told(0)
                target.write(piece)
                traffic.requests += 1
        target.close()
        target.commit()
        done = True
    finally:
        if not done:
            with suppress(OSError, asyncio.TimeoutError):
                target.discard()
