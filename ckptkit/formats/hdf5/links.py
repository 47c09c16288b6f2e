"""The links of a group, in each of the three ways in which a file can keep them (III.A.1, III.B, IV.A.2.g)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.formats.hdf5.header import LINK, LINK_INFO, SYMBOL_TABLE, Message
from ckptkit.formats.hdf5.heaps import FractalHeap, read_local_heap, read_tree_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckptkit.formats.hdf5.file import Hdf5File

HARD, SOFT, EXTERNAL = 0, 1, 64

_MAX_TREE_LEVELS = 32


@dataclass(frozen=True, slots=True)
class GroupLink:
    """One link of a group.

    Attributes:
        name: as the file has it.
        kind: `HARD`, `SOFT`, `EXTERNAL` or a user-defined number.
        address: of the object header, for a hard one.
        target: the path, for a soft one.
    """

    name: bytes
    kind: int
    address: int = 0
    target: bytes = b""


def is_group(messages: Sequence[Message]) -> bool:
    """Whether an object header is that of a group."""
    return any(message.kind in (SYMBOL_TABLE, LINK_INFO, LINK) for message in messages)


def read_links(file: Hdf5File, messages: Sequence[Message]) -> list[GroupLink]:
    """All links of the group with these header messages, by name; nothing is followed.

    Raises:
        FormatError: its structures are broken.
    """
    links: list[GroupLink] = []
    for kind, body in messages:
        if kind == SYMBOL_TABLE:
            links += _symbols(file, file.offset(body, 0), file.offset(body, file.offset_size))
        elif kind == LINK:
            links.append(parse_link(file, body))
        elif kind == LINK_INFO:
            if len(body) < 2:
                raise file.broken("broken link info message")
            at = 2 + 8 * (body[1] & 1)
            heap, names = file.offset(body, at), file.offset(body, at + file.offset_size)
            if heap != file.undefined:
                links += _dense(file, heap, names)
    links.sort(key=lambda link: link.name)
    return links


def parse_link(file: Hdf5File, body: bytes) -> GroupLink:
    """A link message.

    Raises:
        FormatError: it is broken.
    """
    if len(body) < 4 or body[0] != 1:
        raise file.broken("broken link message")
    flags = body[1]
    at, kind = 2, HARD
    if flags & 8:
        kind, at = body[at], at + 1
    at += 8 * (flags >> 2 & 1) + (flags >> 4 & 1)
    width = 1 << (flags & 3)
    length = int.from_bytes(body[at : at + width], "little")
    at += width
    name = body[at : at + length]
    at += length
    if at + 2 > len(body):
        raise file.broken("broken link message")
    if kind == HARD:
        return GroupLink(name, HARD, address=file.offset(body, at))
    size = int.from_bytes(body[at : at + 2], "little")
    return GroupLink(name, kind, target=body[at + 2 : at + 2 + size])


def _dense(file: Hdf5File, heap_address: int, tree_address: int) -> Iterator[GroupLink]:
    """Links in a fractal heap, listed by a B-tree of records (hash of the name, heap id)."""
    heap = FractalHeap(file, heap_address)
    for record in read_tree_records(file, tree_address):
        yield parse_link(file, heap.read(record[4:]))


def _symbols(file: Hdf5File, tree: int, heap: int) -> Iterator[GroupLink]:
    """Links in symbol tables, which a B-tree of version 1 lists, with names in a local heap."""
    names = read_local_heap(file, heap)
    nodes = [(tree, _MAX_TREE_LEVELS)]
    while nodes:
        address, limit = nodes.pop()
        head = file.read(address, 8 + 2 * file.offset_size)
        if head[:4] == b"SNOD":
            yield from _symbol_table(file, address, int.from_bytes(head[6:8], "little"), names)
            continue
        level, count = head[5], int.from_bytes(head[6:8], "little")
        if head[:5] != b"TREE\0" or level >= limit:
            raise file.broken("broken B-tree of a group")
        step = file.length_size + file.offset_size
        data = file.read(address + len(head), count * step + file.length_size)
        children = (file.offset(data, at) for at in range(file.length_size, count * step, step))
        nodes += ((child, level) for child in children)


def _symbol_table(file: Hdf5File, address: int, count: int, names: bytes) -> Iterator[GroupLink]:
    width = 2 * file.offset_size + 24
    data = file.read(address + 8, count * width)
    for at in range(0, len(data), width):
        begin = file.offset(data, at)
        end = names.find(b"\0", begin)
        if end < 0:
            raise file.broken("a link whose name is not in the heap of its group")
        name, scratch = names[begin:end], at + 2 * file.offset_size
        if data[scratch] == 2:  # the scratch pad holds the offset of a soft link's path
            begin = int.from_bytes(data[scratch + 8 : scratch + 12], "little")
            end = names.find(b"\0", begin)
            yield GroupLink(name, SOFT, target=names[begin:end])
        else:
            yield GroupLink(name, HARD, address=file.offset(data, at + file.offset_size))
