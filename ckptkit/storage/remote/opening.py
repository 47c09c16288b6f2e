"""Which way there is to an object: by its file system's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.storage.remote.access import PlainAccess, S3Access
from ckptkit.storage.remote.client import filesystem

if TYPE_CHECKING:
    from ckptkit.storage.remote.access import Access


def open_access(url: str) -> Access:
    """The way to `url` that its store has."""
    fs, path = filesystem(url)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    if "http" in protocols:
        from ckptkit.storage.remote.http import HttpAccess

        return HttpAccess(url, fs, path)
    return S3Access(url, fs, path) if "s3" in protocols else PlainAccess(url, fs, path)


def open_stand_in(local: str, url: str) -> Access:
    """The way to the file `local`, which is taken for what is at `url`."""
    return PlainAccess(url, filesystem("file:///")[0], local)
