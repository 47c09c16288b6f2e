"""What an item says of its tree (`_METADATA`): the path of each leaf, and the name under which its array is stored.

Source: orbax/checkpoint/_src/metadata/tree.py. Early versions have no such file, and names joined by dots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.layout import METADATA as LAYOUT
from ckptkit.formats.layout import decode_layout
from ckptkit.formats.orbax.layout import TREE_FILE, read_json

if TYPE_CHECKING:
    from ckptkit.model import Layout
    from ckptkit.storage.address import Address

MAX_DEPTH = 100
MAX_LEAVES = 400_000

# Leaves of these kinds hold nothing, and are stored nowhere.
_EMPTY = frozenset({"None", "Dict", "List", "Tuple", "NamedTuple", "NamedTupleEntry", "Custom"})


@dataclass(frozen=True, slots=True)
class TreeMetadata:
    """The metadata of an item.

    Attributes:
        leaves: name in the store -> path, of all leaves that hold something; None where the file is missing.
        use_ocdbt: whether arrays lie in OCDBT; None where it does not say.
        all_stored: whether chunks that are all fill value are stored too, so that one that is absent is missing.
        layout: what travelled here with the weights, or None.
    """

    leaves: dict[str, tuple[str, ...]] | None = None
    use_ocdbt: bool | None = None
    all_stored: bool = False
    layout: Layout | None = None


def read_tree(item: Address) -> TreeMetadata:
    """What `_METADATA` in the folder `item` says.

    Raises:
        FormatError: it is not as Orbax writes it, or two leaves have one name.
        LimitError: it is too long, or the tree too deep or large.
    """
    at = item.join(TREE_FILE)
    if not at.is_file():
        return TreeMetadata()
    value = read_json(item, TREE_FILE)
    entries = value.get("tree_metadata") if isinstance(value, dict) else None
    if not isinstance(entries, dict):
        raise FormatError("not the metadata of a tree", path=at)
    if len(entries) > MAX_LEAVES:
        raise LimitError("the tree has too many leaves", path=at, expected=f"at most {MAX_LEAVES}", found=len(entries))
    leaves: dict[str, tuple[str, ...]] = {}
    for word, entry in entries.items():
        path = _path(entry)
        if path is None:
            raise FormatError("a leaf without its path", path=at, key=word)
        if len(path) > MAX_DEPTH:
            raise LimitError("the tree is too deep", path=at, expected=f"at most {MAX_DEPTH}", found=len(path))
        told = entry.get("value_metadata")
        if isinstance(told, dict) and (told.get("skip_deserialize") is True and told.get("value_type") in _EMPTY):
            continue
        name = ".".join(path)
        if name in leaves:
            raise FormatError("two leaves of the tree have one name", path=at, key=name)
        leaves[name] = path
    flags = value.get("use_ocdbt"), value.get("store_array_data_equal_to_fill_value")
    custom = value.get("custom_metadata")
    told = custom.get(LAYOUT) if isinstance(custom, dict) else None
    layout = decode_layout(told) if isinstance(told, str) else None
    return TreeMetadata(leaves, flags[0] if isinstance(flags[0], bool) else None, flags[1] is True, layout)


def _path(entry: Any) -> tuple[str, ...] | None:
    keys = entry.get("key_metadata") if isinstance(entry, dict) else None
    if not isinstance(keys, list):
        return None
    path = [key.get("key") if isinstance(key, dict) else None for key in keys]
    if not all(isinstance(key, str | int) and not isinstance(key, bool) for key in path):
        return None
    return tuple(str(key) for key in path)
