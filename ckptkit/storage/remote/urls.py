"""URLs as text: folder, name, and what follows the name and is no part of it."""

from __future__ import annotations

import re

# Of these a `?` ends the name (RFC 3986, 3.3); in a key of an object store it is a character like others.
_WITH_QUERY = ("http", "https")

# What would end the name or be taken for an escape, in a name that is put into a URL.
_QUOTED = {"%": "%25", "?": "%3F", "#": "%23"}
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")


def split(url: str) -> tuple[str, str, str]:
    """(begin, path, tail): `https://host/`, `a/b`, `?query`; of a chain the tail is the outer links, `::s3://…`."""
    start = url.index("://") + 3
    scheme = url[: start - 3].rpartition("::")[2]
    end = url.find("::", start)
    if end < 0 and scheme in _WITH_QUERY:
        end = min((at for mark in "?#" if (at := url.find(mark, start)) >= 0), default=-1)
    end = len(url) if end < 0 else end
    host = url.find("/", start, end)
    if scheme in _WITH_QUERY:  # what stands before the first slash is a machine, not a folder
        start = host + 1 if host >= 0 else end
    return url[:start], url[start:end], url[end:]


def folder_of(url: str) -> str:
    """The folder in which `url` lies, without a slash at its end."""
    begin, path, tail = split(url)
    return begin + path.rpartition("/")[0] + tail


def base_name(url: str) -> str:
    """The last part of the path as text; empty for a folder written with a slash."""
    begin, path, _ = split(url)
    name = path.rpartition("/")[2]
    return _unquote(name) if begin.startswith(_WITH_QUERY) else name


def join(folder: str, name: str) -> str:
    """`name`, which may be a path, inside `folder`."""
    begin, path, tail = split(folder)
    if begin.startswith(_WITH_QUERY):
        name = "".join(_QUOTED.get(character, character) for character in name)
    slash = "" if not path or path.endswith("/") or not name else "/"
    if not begin.endswith("/"):
        slash = "/"
    return begin + path + slash + name + tail


def _unquote(name: str) -> str:
    from urllib.parse import unquote

    return unquote(name, errors="surrogateescape")
