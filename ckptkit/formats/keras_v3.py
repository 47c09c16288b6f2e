"""Keras 3's weights layout: `.weights.h5`, and weights sharded over several such files by a `.weights.json`.

Source: `keras.src.saving.saving_lib` (Keras 3.15), `H5IOStore` and `ShardedH5IOStore`. Every object that owns variables
has a group, named by its place in the model, and in it a group `vars` with datasets `0`, `1`, …; recent versions give
`vars` the attribute `name`. The sharded index maps the path of each `vars` to the shards that hold its datasets.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptkit.errors import CkptkitError, FormatError, LimitError, NotFoundError, UnsupportedError
from ckptkit.formats.hdf5_file import Hdf5File
from ckptkit.formats.hdf5_limits import judged
from ckptkit.formats.hdf5_source import Hdf5Source
from ckptkit.formats.hdf5_tree import Tree, read_tree
from ckptkit.formats.keras_config import MAX_BYTES, parse_config
from ckptkit.formats.names import beside
from ckptkit.formats.output import writing
from ckptkit.formats.storage import open_storage, read
from ckptkit.model import Contents, KerasV3, StoredTensor, TensorSource, VarsGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.formats.hdf5_write import NewGroup

SHARD_BYTES = 5 << 30
"""Keras's default `max_shard_size`."""

MAX_SHARDS = 256
"""More files than anyone has made of one model."""


def is_v3(tree: Tree) -> bool:
    """Whether a file has a group `vars`, which marks the layout."""
    return any(_is_vars(path) for path in tree.groups)


def read_vars_groups(tree: Tree) -> tuple[VarsGroup, ...]:
    """The `vars` groups in the order of writing.

    Addresses rise in that order, but for objects that the library puts into a gap left behind (a third of the files
    seen have one). So the highest address of a group counts: that of its owner, its own, and those of its datasets.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for key in tree.datasets:
        parent, _, _ = key.rpartition("/")
        members[parent].append(key)
    groups = []
    for path, group in tree.groups.items():
        if _is_vars(path):
            name = tree.attributes(path).string("name")
            keys = tuple(sorted(members[path], key=_number))
            owner = tree.groups[path.rpartition("/")[0]]
            address = max([owner.address, group.address] + [tree.datasets[key].address for key in keys])
            groups.append(VarsGroup(owner_path(path), name, keys, address))
    return tuple(sorted(groups, key=lambda found: found.address or 0))


def owner_path(path: str) -> str:
    """Path of the object that owns the `vars` group at `path`; Keras on Windows wrote backslashes into link names."""
    return path.removesuffix("vars").rstrip("/").replace("\\", "/")


def _is_vars(path: str) -> bool:
    return path == "vars" or path.endswith("/vars")


def _number(key: str) -> tuple[int, int, str]:
    """Sorts `vars/10` after `vars/2`, and names that are no number after those that are."""
    name = key.rpartition("/")[2]
    return (0, int(name), "") if name.isdecimal() and len(name) < 19 else (1, 0, name)


def open_sharded(path: str) -> tuple[Contents, TensorSource]:
    """The tensors of all shards that the index `path` (`*.weights.json`) names.

    Shards lie beside the index. One that is missing or broken is damage; the tensors of the others stay readable.

    Raises:
        FormatError: not an index, or a shard's name leads out of the folder.
    """
    weight_map = read_weight_map(path)
    names = list(dict.fromkeys(name for shards in weight_map.values() for name in shards))
    if len(names) > MAX_SHARDS:
        raise LimitError("too many shards", path=path, expected=f"at most {MAX_SHARDS}", found=len(names))
    with ExitStack() as opened:
        shards, damage = _open_shards(path, names, opened)
        owners: dict[str, str] = {}
        for name, tree in shards.items():
            for key in tree.datasets:
                if owners.setdefault(key, name) != name:
                    damage.append(f"{key} is in {owners[key]} and in {name}")
            damage += [f"{name}: {problem}" for problem in tree.problems()]
        groups = tuple(_sharded_groups(weight_map, shards, owners, damage))
        order = dict.fromkeys([key for group in groups for key in group.keys] + list(owners))
        size = sum(tree.file.storage.size for tree in shards.values())
        datasets = judged({key: shards[owners[key]].datasets[key] for key in order}, size)
        sources = {name: Hdf5Source(tree.file, datasets) for name, tree in shards.items()}
        opened.pop_all()
    contents = Contents(
        format="keras-sharded",
        producer=None,
        tensors=tuple(dataset.tensor() for dataset in datasets.values()),
        structure=KerasV3(groups),
        notes=(f"{len(names)} shard{'s' * (len(names) != 1)}",),
        damage=tuple(damage),
    )
    return contents, JoinedSource(path, {key: sources[name] for key, name in owners.items()}, tuple(sources.values()))


def read_weight_map(path: str) -> dict[str, tuple[str, ...]]:
    """Path of a `vars` group -> names of its shards, in the index's order, every name checked to be a plain one."""
    with closing(open_storage(path)) as storage:
        if storage.size > MAX_BYTES:
            raise LimitError(
                "too large for an index", path=path, expected=f"at most {MAX_BYTES} bytes", found=storage.size
            )
        index, problem = parse_config(bytes(read(storage, 0, storage.size)), "the index")
    weight_map = None if index is None else index.get("weight_map")
    if not isinstance(weight_map, dict):
        raise FormatError(problem or "not an index of sharded weights: it has no weight_map", path=path)
    shards = {}
    for group, names in weight_map.items():
        listed = names if isinstance(names, list) else [names]
        for name in listed:
            if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\:\0"):
                raise FormatError(
                    "a shard's name that is no plain file name", path=path, key=group, found=str(name)[:200]
                )
        shards[group.strip("/")] = tuple(listed)
    return shards


def _open_shards(path: str, names: list[str], opened: ExitStack) -> tuple[dict[str, Tree], list[str]]:
    """The shards that can be read, their storages entered into `opened`, and a sentence for each that cannot."""
    shards, damage = {}, []
    for name in names:
        try:
            storage = open_storage(beside(path, name))
            opened.callback(storage.close)
            shards[name] = read_tree(Hdf5File(storage))
        except CkptkitError as error:
            damage.append(f"shard {name}: {error.problem}")
    return shards, damage


def _sharded_groups(
    weight_map: Mapping[str, tuple[str, ...]], shards: Mapping[str, Tree], owners: Mapping[str, str], damage: list[str]
) -> Iterator[VarsGroup]:
    """The groups of the index in its order, which is that of writing, each joined from its shards."""
    found = {name: {_vars_path(group): group for group in read_vars_groups(tree)} for name, tree in shards.items()}
    for place, (path, names) in enumerate(weight_map.items()):
        parts = [found[name][path] for name in names if name in shards and path in found[name]]
        if len(parts) < len(names):
            damage.append(f"{path} is listed for {', '.join(names)} and not there")
        keys = sorted({key for part in parts for key in part.keys if owners[key] in names}, key=_number)
        # Keras names the group in the shard it is in when it comes to it, which may be full for its first dataset.
        everywhere = (group.get(path) for group in found.values())
        name = next((part.name for part in everywhere if part is not None and part.name is not None), None)
        yield VarsGroup(owner_path(path), name, tuple(keys), place)


def _vars_path(group: VarsGroup) -> str:
    return f"{group.path}/vars".lstrip("/")


def write_v3(path: str, contents: Contents, source: TensorSource) -> None:
    """Write a new `.weights.h5`, its groups in the order of the evidence.

    Args:
        path: the new file.
        contents: tensors, and `KerasV3` evidence.
        source: gives the tensors' bytes.

    Raises:
        UnsupportedError: evidence of another layout.
        WriteError: the file cannot be written.
    """
    from ckptkit.formats.hdf5_write import NewGroup, write_file

    groups = [
        NewGroup(where, {} if name is None else {"name": name}, tensors)
        for where, name, tensors in _new_groups(path, contents)
    ]
    write_file(path, groups, source)


def write_sharded(path: str, contents: Contents, source: TensorSource, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write new shards and, last, their index `path`, as `write_v3` would write one file.

    Args:
        path: the index, `*.weights.json`; the shards get its name and a number.
        contents: tensors, and `KerasV3` evidence.
        source: gives the tensors' bytes.
        shard_bytes: most bytes of tensors in a shard; a larger tensor gets one of its own.
    """
    from ckptkit.formats.hdf5_write import write_file

    divided = divide_groups(path, contents, shard_bytes)
    for number, groups in enumerate(divided.shards):
        write_file(str(Path(path).with_name(shard_name(path, number))), groups, source)
    total = sum(tensor.nbytes for tensor in contents.tensors)
    write_index(path, {"metadata": {"total_size": total}, "weight_map": divided.weight_map})


class Divided(NamedTuple):
    """Groups by shard, and the shards in which each group is."""

    shards: list[list[NewGroup]]
    weight_map: dict[str, list[str]]


def divide_groups(path: str, contents: Contents, shard_bytes: int) -> Divided:
    """What `write_sharded` puts into each shard."""
    from ckptkit.formats.hdf5_write import NewGroup

    shards: list[list[NewGroup]] = [[]]
    weight_map: dict[str, list[str]] = {}
    held = 0
    for where, name, tensors in _new_groups(path, contents):
        attributes = {} if name is None else {"name": name}
        shards[-1].append(NewGroup(where, attributes))
        for tensor in tensors:
            if held and held + tensor.nbytes > shard_bytes:
                shards.append([NewGroup(where, attributes)])
                held = 0
            held += tensor.nbytes
            shards[-1].append(NewGroup(where, {}, [tensor]))
            listed = weight_map.setdefault(f"/{where}", [])
            if (shard := shard_name(path, len(shards) - 1)) not in listed:
                listed.append(shard)
    return Divided(shards, weight_map)


def write_index(path: str, index: Mapping[str, Any]) -> None:
    """Write the index of sharded weights as Keras does: a name for a group in one shard, a list for one in several."""
    weight_map = {group: names[0] if len(names) == 1 else list(names) for group, names in index["weight_map"].items()}
    with writing(path):
        Path(path).write_text(json.dumps({**index, "weight_map": weight_map}, indent=4), encoding="utf-8")


def shard_name(path: str, number: int) -> str:
    """File name of shard `number` of the index `path` (`ShardedH5IOStore._create_new_shard_file`)."""
    return f"{Path(path).stem.replace('.weights', '')}_{number:05}.weights.h5"


def _new_groups(path: str, contents: Contents) -> Iterator[tuple[str, str | None, list[StoredTensor]]]:
    """(path of `vars`, its name, its tensors) in the order of the evidence; what no group owns comes last."""
    if not isinstance(contents.structure, KerasV3):
        raise UnsupportedError("Keras 3's layout needs groups of variables", path=path)
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    for group in contents.structure.groups:
        where = group.keys[0].rpartition("/")[0] if group.keys else _vars_path(group)
        yield where, group.name, [tensors.pop(key) for key in group.keys]
    for key, tensor in tensors.items():
        yield key.rpartition("/")[0], None, [tensor]


class JoinedSource:
    """A `TensorSource` over several: each key is read from the one that has it."""

    def __init__(self, path: str, by_key: Mapping[str, TensorSource], sources: tuple[TensorSource, ...]) -> None:
        self._path = path
        self._by_key = by_key
        self._sources = sources

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Bytes from `offset` on of tensor `key`, in little-endian order."""
        self._source(key).read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in pieces, each a view of `buffer`."""
        return self._source(key).stream(key, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """The strings of tensor `key` in C order."""
        return self._source(key).read_strings(key)

    def behind(self, key: str) -> tuple[TensorSource, str]:
        """See `ForwardingSource.behind`."""
        return self._source(key), key

    def close(self) -> None:
        """Give back the files; idempotent."""
        for source in self._sources:
            source.close()

    def _source(self, key: str) -> TensorSource:
        if key not in self._by_key:
            raise NotFoundError("no such variable", path=self._path, key=key)
        return self._by_key[key]
