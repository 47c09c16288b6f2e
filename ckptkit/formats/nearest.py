"""What is there and looks like a path that is not: for the hint beside "no such file"."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX, META_SUFFIX, is_data_shard

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

# Names of a folder that are looked at: comparing words takes some 20 µs each.
_MOST_NAMES = 5000

_SHOWN = 3


def nearest(path: Address) -> list[str]:
    """At most three names like that of `path` in its folder; whole paths where the folder's own name is mistyped.

    Case does not count, and of a bundle its prefix is named, not its files.
    """
    folder, name = path.folder, path.base
    try:
        if folder.is_folder():
            return _like(name, folder)
        there = [
            folder.fronted(folder.front.removesuffix(folder.base) + near) for near in _like(folder.base, folder.folder)
        ]
        found = [
            parent.join(near).text for parent in there if parent.is_folder() for near in _like(name, parent, same=True)
        ]
    except CkptkitError:
        return []
    return found[:_SHOWN]


def _like(name: str, folder: Address, *, same: bool = False) -> list[str]:
    """Names in `folder` like `name`, the likest first; `same` for whether that may be `name` itself."""
    names: dict[str, str] = {}
    for entry in folder.names()[:_MOST_NAMES]:
        if not is_data_shard(entry) and not entry.endswith(META_SUFFIX) and (same or entry != name):
            shown = entry if name.endswith(INDEX_SUFFIX) else entry.removesuffix(INDEX_SUFFIX)
            names.setdefault(shown.casefold(), shown)
    return [names[near] for near in difflib.get_close_matches(name.casefold(), names, n=_SHOWN)] if name else []
