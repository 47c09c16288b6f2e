"""Walking the groups of a distant HDF5 file level by level, so that one level's metadata come at once.

The real walk goes down each group in turn and asks for one structure at a time, as is right where bytes are at hand; a
round trip for each of them would take seconds. What is broken here is left to that walk to say.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError, UnsupportedError
from ckptkit.formats.hdf5.header import SYMBOL_TABLE, read_header
from ckptkit.formats.hdf5.links import HARD, is_group, read_links

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.hdf5.file import Hdf5File

# As many pages of metadata are kept; what comes after them is fetched when it is asked for.
_MOST_OBJECTS = 2_000


def look_ahead(file: Hdf5File) -> None:
    """Have the metadata of all groups and datasets fetched, if the file's bytes have a way to go."""
    if not file.storage.distant:
        return
    level, seen = [file.root], {file.root}
    with suppress(FormatError, LimitError, UnsupportedError, IndexError, struct.error):
        while level and len(seen) < _MOST_OBJECTS:
            _expect(file, level)
            groups = [messages for address in level if is_group(messages := read_header(file, address))]
            tables = [body for messages in groups for kind, body in messages if kind == SYMBOL_TABLE]
            _expect(file, (file.offset(body, at) for body in tables for at in (0, file.offset_size)))
            links = [link for messages in groups for link in read_links(file, messages)]
            level = list(
                dict.fromkeys(link.address for link in links if link.kind == HARD and link.address not in seen)
            )
            seen.update(level)


def _expect(file: Hdf5File, addresses: Iterable[int]) -> None:
    file.storage.expect([file.at(address) for address in addresses])
