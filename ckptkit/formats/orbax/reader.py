"""Reading Orbax checkpoints: the tree of an item, and where the bytes of its leaves are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError
from ckptkit.formats.keras.config import parse_config
from ckptkit.formats.msgpack.reader import MsgpackSource
from ckptkit.formats.msgpack.tree import read_leaves
from ckptkit.formats.orbax.arrays import StoredArray, find_arrays
from ckptkit.formats.orbax.layout import (
    AGGREGATE_FILE,
    CONFIG_ITEM,
    STRINGS_FILE,
    Item,
    check_within,
    item_of,
    read_json,
)
from ckptkit.formats.orbax.source import Elsewhere, OrbaxSource, Text
from ckptkit.formats.orbax.store import Store
from ckptkit.formats.orbax.tree import TreeMetadata, read_tree
from ckptkit.formats.orbax.zarr import ZarrArray
from ckptkit.model import Contents, StoredTensor, TensorSource, Tree, TreeLeaf
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ckptkit.formats.msgpack.tree import Leaf
    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

# Beside which names early versions put that of an array in their aggregate.
_PLACEHOLDER = "PLACEHOLDER://"


def files(at: Address) -> tuple[Address, ...]:
    """Every file of the step or item, and the architecture beside an item."""
    item = item_of(at)
    found = [at.join(name) for name in at.files_below()]
    if item.config is not None and item.config.folder != at:
        found.append(item.config.join(STRINGS_FILE))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Opened:
    """An item, with what writing another like it needs besides.

    Attributes:
        contents: what it holds.
        source: where the bytes are.
        leaves: key -> how the leaf is stored.
        names: key -> names in the store, of which the first is the leaf's own; others lead to the same bytes.
    """

    contents: Contents
    source: OrbaxSource
    leaves: Mapping[str, StoredArray | Text | Elsewhere]
    names: Mapping[str, Sequence[str]]


def open(at: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """The tree of the step or item `at`, or of the newest step in it.

    Raises:
        CkptkitError: there is none, its index cannot be read, or it is beyond the limits.
    """
    opened = open_item(at)
    return opened.contents, opened.source


def open_item(at: Address) -> Opened:
    """As `open`, with how each leaf is stored."""
    item = item_of(at)
    if item.folder != at:
        check_within(item.folder, at)
    metadata = read_tree(item.folder)
    strings = _strings(item.folder)
    aggregate = _aggregate(item.folder)
    if metadata.leaves is None and aggregate is not None:
        metadata = replace(metadata, leaves=aggregate.names)
    store = Store(item.folder, use_ocdbt=metadata.use_ocdbt)
    arrays = find_arrays(store, all_stored=metadata.all_stored)
    leaves: dict[str, StoredArray | Text | Elsewhere] = {}
    names: dict[str, list[str]] = {}
    places: dict[object, str] = {}
    paths = []
    for name, path in _paths(metadata, arrays, strings).items():
        key = "/".join(path) or name
        if key in leaves:
            raise FormatError("two leaves of the tree have one name", path=item.folder, key=key)
        place = arrays[name].place if name in arrays else None
        if place is not None and place in places:
            names[places[place]].append(name)
            continue
        places[place] = key
        beside = aggregate.leaves.get(name) if aggregate else None
        leaves[key] = beside or arrays.get(name) or strings.get(name) or _absent(name)
        names[key] = [name]
        paths.append(TreeLeaf(key, path))
    damage = [
        f"{key}: {leaf.problem}" for key, leaf in leaves.items() if isinstance(leaf, StoredArray) and leaf.damaged
    ]
    config, why_not = _config(item)
    contents = Contents(
        "orbax", "Keras, Orbax" if config is not None else "Orbax",
        tuple(_tensor(key, names[key], leaf) for key, leaf in leaves.items()),
        Tree(tuple(paths), config), layout=metadata.layout, notes=(*item.notes, *([why_not] if why_not else [])),
        damage=(*item.damage, *damage),
    )  # fmt: skip
    return Opened(contents, OrbaxSource(store, leaves, item.folder.text, all_stored=metadata.all_stored), leaves, names)


# No name in a store is longer, so that no text that is a leaf is taken for one.
_LONGEST_PLACEHOLDER = 4096 + len(_PLACEHOLDER)


def _absent(name: str) -> StoredArray:
    return StoredArray(name, ZarrArray((), "uint8"), {}, "its array is not in the store", damaged=True)


@dataclass(frozen=True, slots=True)
class _Aggregate:
    """The one file in which early versions put leaves.

    Attributes:
        names: name in the store -> path, of every leaf, those that are stored elsewhere too.
        leaves: by that name, those that are in it.
    """

    names: dict[str, tuple[str, ...]]
    leaves: dict[str, Elsewhere]


def _read_aggregate(storage: Storage) -> tuple[Storage, list[Leaf], dict[int, str]]:
    """An open aggregate file, its leaves, and the text of each that may be a placeholder, by its identity."""
    found = read_leaves(storage)
    texts = [leaf for leaf in found if leaf.dtype == "string" and leaf.nbytes <= _LONGEST_PLACEHOLDER]
    told = {id(leaf): bytes(read(storage, *leaf.pieces[0])).decode("utf-8", "replace") for leaf in texts}
    return storage, found, told


def _aggregate(item: Address) -> _Aggregate | None:
    at = item.join(AGGREGATE_FILE)
    if not at.is_file():
        return None
    check_within(at, item)
    storage, found, told = at.read_with(_read_aggregate)
    source = MsgpackSource(storage, {"/".join(leaf.path): leaf for leaf in found})
    names: dict[str, tuple[str, ...]] = {}
    leaves: dict[str, Elsewhere] = {}
    for leaf in found:
        text = told.get(id(leaf), "")
        name = text.removeprefix(_PLACEHOLDER) if text.startswith(_PLACEHOLDER) else ".".join(leaf.path)
        if name in names:
            source.close()
            raise FormatError("two leaves of the tree have one name", path=at, key=name)
        names[name] = leaf.path
        if not text.startswith(_PLACEHOLDER):
            leaves[name] = Elsewhere(source, leaf)
    return _Aggregate(names, leaves)


def _strings(item: Address) -> dict[str, Text]:
    """The leaves that are texts, by name."""
    value = read_json(item, STRINGS_FILE)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FormatError("not the texts of a tree", path=item.join(STRINGS_FILE))
    return {name: Text(text.encode("utf-8", "surrogatepass")) for name, text in value.items()}


def _paths(
    metadata: TreeMetadata, stored: Mapping[str, object], texts: Mapping[str, object]
) -> dict[str, tuple[str, ...]]:
    """Name in the store -> path of every leaf: of those that the tree lists, then of what else is there."""
    paths = dict(metadata.leaves or {})
    for name in (*stored, *texts):
        if name not in paths:
            paths[name] = tuple(name.split(".")) if metadata.leaves is None else (name,)
    return paths


def _tensor(key: str, names: Sequence[str], leaf: StoredArray | Text | Elsewhere) -> StoredTensor:
    aliases = tuple(name for name in names if name != key)
    if isinstance(leaf, Text):
        return StoredTensor(key, (), "string", len(leaf.value), aliases)
    if isinstance(leaf, Elsewhere):
        told = leaf.leaf
        return StoredTensor(key, told.shape, told.dtype, told.nbytes, aliases, problem=told.problem)
    return StoredTensor(key, leaf.zarr.shape, leaf.zarr.dtype, leaf.zarr.nbytes, aliases, problem=leaf.problem)


def _config(item: Item) -> tuple[Mapping[str, Any] | None, str | None]:
    """The architecture of a Keras model, which Keras keeps as a text, and why it is not read where it is there."""
    if item.config is None:
        return None, None
    texts = read_json(item.config, STRINGS_FILE)
    text = texts.get("config") if isinstance(texts, dict) else None
    if not isinstance(text, str):
        return None, None
    return parse_config(text, CONFIG_ITEM)
