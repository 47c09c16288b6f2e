"""All groups and datasets of an HDF5 file, found without leaving it.

Only hard links are followed, groups once each (by address), without recursion. Soft links are resolved by name within
what was found; links to other files are named and left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError
from ckptkit.formats.hdf5 import links as hdf5_links
from ckptkit.formats.hdf5.attributes import Attributes, read_attributes, text
from ckptkit.formats.hdf5.dataset import Dataset, is_dataset, read_dataset
from ckptkit.formats.hdf5.header import ATTRIBUTE, ATTRIBUTE_INFO, read_header
from ckptkit.formats.hdf5.prefetch import look_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.formats.hdf5.file import Hdf5File
    from ckptkit.formats.hdf5.links import GroupLink
    from ckptkit.formats.hdf5.types import StoredType

# Longest path, and all paths together, in bytes: a megabyte of nested groups could otherwise spell gigabytes of names.
MAX_PATH_BYTES = 4096
MAX_PATHS_BYTES = 128 << 20

# Parts of a path; a model nested in ten others stays far below.
MAX_PARTS = 100

# HDF5 itself stops after 16 soft links in a row (H5Pset_nlinks).
_MAX_HOPS = 16


@dataclass(frozen=True, slots=True)
class Group:
    """One group: the address of its object header, and whether it has attributes."""

    address: int
    has_attributes: bool


@dataclass(slots=True)
class Tree:
    """What `read_tree` found, in the order of the library's listing: by name, a group's members right after it."""

    file: Hdf5File
    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    """Path without leading slash -> group; the root is \"\"."""
    links: dict[str, str] = field(default_factory=dict)
    """Soft link, or second name of a group -> the path that it leads to."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Path -> why nothing of it was read."""

    def attributes(self, path: str) -> Attributes:
        """The attributes of the group at `path`."""
        group = self.groups[path]
        return read_attributes(self.file, group.address) if group.has_attributes else Attributes(self.file, ())

    def resolve(self, path: str) -> str:
        """`path` with links followed inside the file and empty parts dropped; it need not exist."""
        for _ in range(_MAX_HOPS):
            if path in self.datasets or path in self.groups or path.count("/") > MAX_PARTS:
                break
            parts = [part for part in path.split("/") if part not in ("", ".")]
            path = "/".join(parts)
            for length in range(1, len(parts) + 1) if self.links else ():
                target = self.links.get("/".join(parts[:length]))
                if target is not None:
                    path = "/".join([target, *parts[length:]])
                    break
            else:
                break
        return path

    def problems(self) -> Iterator[str]:
        """One sentence for each thing that was left out and cannot be read under another name."""
        for path, why in self.left_out.items():
            yield f"{path}: {why}"
        for path in self.links:
            target = self.resolve(path)
            if target not in self.datasets and target not in self.groups:
                yield f"{path}: a link to a name that is not in the file"


def read_tree(file: Hdf5File) -> Tree:
    """Walk `file` from its root.

    Raises:
        FormatError: its structure is broken.
        LimitError: its names alone would fill the memory.
    """
    walk = _Walk(file)
    try:
        look_ahead(file)
        with file.parsing():
            walk.run()
    except CkptkitError as error:
        error.path, error.key = error.path or file.name, error.key or text(walk.at) or None
        raise
    return walk.tree


class _Walk:
    """State of one walk: an explicit stack of groups, and the path being looked at, for messages."""

    def __init__(self, file: Hdf5File) -> None:
        self.tree = Tree(file)
        self.at = b""
        self._file = file
        self._groups: dict[int, str] = {}
        self._datasets: dict[int, Dataset] = {}
        self._types: dict[bytes, StoredType] = {}
        self._spelled = 0
        self._stack: list[tuple[bytes, Iterator[GroupLink]]] = []

    def run(self) -> None:
        self._enter(self._file.root, b"")
        if not self._stack:
            raise self._file.broken("the root of the file is not a group")
        while self._stack:
            prefix, links = self._stack[-1]
            for link in links:
                self.at = path = prefix + link.name
                self._spend(path)
                if self._is_hard(link, path, prefix) and self._enter(link.address, path):
                    break
            else:
                self._stack.pop()

    def _enter(self, address: int, path: bytes) -> bool:
        """Take up the object at `address`; whether it is a group, whose links come next."""
        key = text(path)
        if key in self.tree.datasets or key in self.tree.groups:
            self.tree.left_out[f"{key} (second)"] = "its name is the same as another's"
            return False
        if address in self._groups:
            self.tree.links[key] = self._groups[address]
            return False
        if address in self._datasets:
            self.tree.datasets[key] = replace(self._datasets[address], key=key)
            return False
        messages = read_header(self._file, address)
        if is_dataset(messages):
            self.tree.datasets[key] = self._datasets[address] = read_dataset(
                self._file, key, address, messages, self._types
            )
        elif hdf5_links.is_group(messages):
            has_attributes = any(message.kind in (ATTRIBUTE, ATTRIBUTE_INFO) for message in messages)
            self._groups[address] = key
            self.tree.groups[key] = Group(address, has_attributes)
            self._stack.append((path + b"/" if path else b"", iter(hdf5_links.read_links(self._file, messages))))
            return True
        return False

    def _spend(self, path: bytes) -> None:
        self._spelled += len(path)
        if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_PARTS or self._spelled > MAX_PATHS_BYTES:
            raise LimitError(
                "its names are too long",
                key=text(path[:100]),
                expected=f"at most {MAX_PATH_BYTES} bytes in {MAX_PARTS} parts, {MAX_PATHS_BYTES} bytes together",
            )

    def _is_hard(self, link: GroupLink, path: bytes, prefix: bytes) -> bool:
        """Whether a link leads to an object right here; others are put down for what they are."""
        if link.name in (b"", b".") or b"/" in link.name:
            self.tree.left_out[text(path)] = "a name that no path can spell"
        elif link.kind == hdf5_links.HARD:
            return True
        elif link.kind == hdf5_links.SOFT and len(link.target) > MAX_PATH_BYTES:
            self.tree.left_out[text(path)] = "a link to a name that is too long"
        elif link.kind == hdf5_links.SOFT:
            here = b"" if link.target.startswith(b"/") else prefix
            self.tree.links[text(path)] = text(here + link.target).strip("/")
        elif link.kind == hdf5_links.EXTERNAL:
            self.tree.left_out[text(path)] = "a link to another file, which is not followed"
        else:
            self.tree.left_out[text(path)] = "a link of an unknown kind, which is not followed"
        return False
