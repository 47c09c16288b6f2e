"""Assets as meaning: which layer owns one, what kind it is, and whose rows it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.naming import public
from ckptkit.canonical.topology import read_topology
from ckptkit.model import Asset, KerasV3, LegacyKeras, ObjectGraph, StoredAsset

if TYPE_CHECKING:
    from ckptkit.model import Contents, Layer

# The two tensors of a table: `MutableHashTable` in object-based and in name-based checkpoints
# (tensorflow/python/ops/lookup_ops.py, `_serialize_to_tensors` and `_Saveable`), and as `convert` names the former.
_TABLE_KEYS = re.compile(r"(?P<name>.*?)(?P<attributes>/\.ATTRIBUTES)?(?P<word>/table-|-)keys")

# Lists of layers in a `.keras` archive, as its paths have them.
_LIST = "layers"

# Layers that turn input into numbers and own no weights: what they were told decides what the weights after them mean
# (keras/src/layers/preprocessing, tf_keras/src/layers/preprocessing).
_PREPROCESSING = frozenset(
    {
        "StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization", "Hashing", "HashedCrossing", "Discretization",
        "CategoryEncoding", "Normalization",
    }
)  # fmt: skip

# What a lookup calls that of its assets in which a token has its row.
_BY_ROW = ("vocabulary.txt", "lookup_table")

_LOOKUPS = frozenset({"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"})

# Those that give the number of a row without a vocabulary.
_NUMBERING = frozenset({"Hashing", "HashedCrossing", "Discretization"})

# Entries of a configuration that say nothing of what the layer computes, and the vocabulary, which is an asset of its own.
_ASIDE = frozenset(
    {
        "name",
        "dtype",
        "trainable",
        "batch_input_shape",
        "vocabulary",
        "vocabulary_dtype",
        "vocabulary_size",
        "idf_weights",
    }
)
_LONGEST_SETTING = 1 << 20


def find_tables(contents: Contents) -> Iterator[StoredAsset]:
    """The lookup tables that are stored as tensors of their keys and values."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    for key, tensor in tensors.items():
        found = _TABLE_KEYS.fullmatch(key)
        if found is None or len(tensor.shape) != 1:
            continue
        values = tensors.get(key.removesuffix("keys") + "values")
        if values is not None and values.shape[:1] == tensor.shape:
            yield StoredAsset(found["name"], tensor.nbytes + values.nbytes, (key, values.key))


def read_assets(contents: Contents, tables: Sequence[StoredAsset], layers: Sequence[Layer]) -> tuple[Asset, ...]:
    """The assets of `contents`: those of the file, tables that are stored as tensors, and what the architecture says.

    Args:
        contents: what a format module found.
        tables: what `find_tables` found in it.
        layers: the layers that own weights, as the canonical map names them.
    """
    root = parse_architecture(_config_of(contents))
    nodes = [] if root is None else [node for node in preorder(root) if node.class_name in _PREPROCESSING]
    rows = _rows(root, [node for node in nodes if node.class_name in _LOOKUPS | _NUMBERING], layers)
    groups = {} if root is None else _groups(root)
    # A table of nothing, such as the counts of a vocabulary that was set as one, decides nothing.
    empty = {tensor.key for tensor in contents.tensors if tensor.shape == (0,)}
    found = []
    owners = set()
    for stored in (*contents.assets, *(table for table in tables if empty.isdisjoint(table.keys))):
        node = groups.get(_group_of(stored.name))
        layer = node.path if node is not None else _owner(stored, contents, nodes)
        owners.add(layer)
        named = rows.get(layer, ()) if stored.name.endswith(_BY_ROW) else ()
        found.append(Asset(stored.name, layer, _kind(stored), stored.nbytes, stored.keys, stored.entries, named))
    for node in nodes:
        found += _from_config(node, rows.get(node.path, ()), told=node.path not in owners)
    return tuple(found)


def _config_of(contents: Contents) -> Mapping[str, Any] | None:
    match contents.structure:
        case LegacyKeras(config=config) | KerasV3(config=config):
            return config
        case ObjectGraph(nodes=nodes):
            return nodes[0].metadata if nodes else None
    return None


def _rows(root: Node | None, lookups: Sequence[Node], layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """Path of a lookup -> layers with weights that take its numbers and nothing else, through layers without weights."""
    if root is None or not lookups:
        return {}
    paths = [node.path for node in lookups]
    topology = read_topology(root, (*paths, *(layer.name for layer in layers)))
    if topology is None:
        return {}
    owned = {layer.name for layer in layers}
    return {
        path: tuple(layer for layer, reach in topology.feeds.items() if reach == (path,) and layer in owned)
        for path in paths
    }


def _groups(root: Node) -> dict[str, Node]:
    """Path of every layer in Keras 3's layout, without the leading list: `functional/layers/string_lookup`."""
    found = {}
    pending = [("", root)]
    while pending:
        path, node = pending.pop()
        for group, child in node.group_names().items():
            here = f"{path}/{_LIST}/{group}" if path else group
            found[here] = child
            pending.append((here, child))
    return found


def _group_of(name: str) -> str:
    """The layer's group in a member's name: `string_lookup` of `assets/layers/string_lookup/vocabulary.txt`."""
    parts = name.split("/")
    if parts[:2] != ["assets", _LIST] or len(parts) < 4:
        return ""
    end = 3
    while end + 2 < len(parts) and parts[end] == _LIST:
        end += 2
    return "/".join(parts[2:end])


def _owner(stored: StoredAsset, contents: Contents, nodes: Sequence[Node]) -> str:
    """The layer of the architecture that owns an asset; else the object that does, or the path that leads there.

    The lookup inside of a `TextVectorization` is an object with a name of its own, and no layer of the architecture.
    """
    if isinstance(contents.structure, ObjectGraph):
        names = _names_on_the_way(contents.structure, stored.name)
        for name in names:
            owners = [node.path for node in nodes if node.path.rpartition("/")[2] == name]
            if len(owners) == 1:
                return owners[0]
        if names:
            return names[0]
    parts = [public(part) for part in stored.name.split("/")]
    if parts[0] == "assets":
        parts = parts[1:]
    if parts and parts[-1] in ("lookup_table", "token_counts", "vocabulary.txt"):
        parts = parts[:-1]
    return "/".join(parts)


def _names_on_the_way(graph: ObjectGraph, path: str) -> list[str]:
    """The names in the metadata of the objects below the root that a path leads through, the innermost first."""
    node, names = 0, list[str]()
    for part in path.split("/"):
        found = dict(graph.nodes[node].children).get(part)
        if found is None:
            break
        node = found
        described = (graph.nodes[node].metadata or {}).get("name")
        if isinstance(described, str) and described:
            names.insert(0, described)
    return names


def _kind(stored: StoredAsset) -> Any:
    if stored.keys or stored.entries is not None:
        return "table"
    return "vocabulary" if stored.name.endswith(".txt") else "file"


def _from_config(node: Node, rows: tuple[str, ...], *, told: bool) -> Iterator[Asset]:
    """What the architecture says of a preprocessing layer.

    Args:
        node: the layer.
        rows: layers that look rows up by what it gives.
        told: whether the file has no vocabulary of its own for it, so that the one in the configuration counts.
    """
    config = node.config
    if told and node.class_name in _LOOKUPS:
        entries = _vocabulary(node.class_name, config)
        if entries is not None:
            rows_ = tuple((entry,) for entry in entries)
            yield Asset(
                f"config:{node.path}/vocabulary", node.path, "vocabulary", sum(map(len, entries)), (), rows_, rows
            )
    settings = []
    for name, value in sorted(config.items()):
        if name not in _ASIDE:
            text = json.dumps(value, sort_keys=True)
            if len(text) <= _LONGEST_SETTING:
                settings.append((name.encode(errors="replace"), text.encode()))
    if settings:
        size = sum(len(name) + len(value) for name, value in settings)
        yield Asset(f"config:{node.path}", node.path, "settings", size, (), tuple(settings), rows)


def _vocabulary(class_name: str, config: Mapping[str, Any]) -> list[bytes] | None:
    """The tokens of a configuration, each at its row: a mask and the unknown ones come first.

    Source: keras/src/layers/preprocessing/index_lookup.py, `set_vocabulary`, `_token_start_index`.
    """
    given = config.get("vocabulary")
    if isinstance(given, Mapping):
        given = given.get("config", {}).get("value") if isinstance(given.get("config"), Mapping) else None
    if not isinstance(given, list) or not given:
        return None
    text = class_name == "TextVectorization"
    mask = "" if text else config.get("mask_token")
    unknown = "[UNK]" if text else config.get("oov_token")
    first = [mask] if config.get("output_mode", "int") == "int" and mask is not None else []
    count = 1 if text else config.get("num_oov_indices", 1)
    specials = [*first, *([unknown] * (count if isinstance(count, int) and 0 <= count <= 1 << 20 else 1))]
    tokens = given if given[: len(specials)] == specials else [*specials, *given]
    return [token.encode() if isinstance(token, str) else str(token).encode() for token in tokens]
