"""Keras 3's weights in shards, read as one by their index."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError, NotFoundError
from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.limits import judged
from ckptkit.formats.hdf5.source import Hdf5Source
from ckptkit.formats.hdf5.tree import Tree, read_tree
from ckptkit.formats.keras.index import read_weight_map
from ckptkit.formats.keras.v3 import number, owner_path, read_vars_groups, vars_path
from ckptkit.model import Contents, KerasV3, TensorSource, VarsGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.storage.address import Address

MAX_SHARDS = 256
"""More files than anyone has made of one model."""


def open_sharded(path: Address) -> tuple[Contents, TensorSource]:
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
    return contents, JoinedSource(
        path.text, {key: sources[name] for key, name in owners.items()}, tuple(sources.values())
    )


def _open_shards(path: Address, names: list[str], opened: ExitStack) -> tuple[dict[str, Tree], list[str]]:
    """The shards that can be read, their storages entered into `opened`, and a sentence for each that cannot."""
    shards, damage = {}, []
    for name in names:
        try:
            storage = path.beside(name).open()
            opened.callback(storage.close)
            shards[name] = read_tree(Hdf5File(storage))
        except CkptkitError as error:
            damage.append(f"shard {name}: {error.problem}")
    return shards, damage


def _sharded_groups(
    weight_map: Mapping[str, tuple[str, ...]], shards: Mapping[str, Tree], owners: Mapping[str, str], damage: list[str]
) -> Iterator[VarsGroup]:
    """The groups of the index in its order, which is that of writing, each joined from its shards."""
    found = {name: {vars_path(group): group for group in read_vars_groups(tree)} for name, tree in shards.items()}
    for place, (path, names) in enumerate(weight_map.items()):
        parts = [found[name][path] for name in names if name in shards and path in found[name]]
        if len(parts) < len(names):
            damage.append(f"{path} is listed for {', '.join(names)} and not there")
        keys = sorted({key for part in parts for key in part.keys if owners[key] in names}, key=number)
        # Keras names the group in the shard it is in when it comes to it, which may be full for its first dataset.
        everywhere = (group.get(path) for group in found.values())
        name = next((part.name for part in everywhere if part is not None and part.name is not None), None)
        yield VarsGroup(owner_path(path), name, tuple(keys), place)


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
