"""Whatever Keras keeps weights in; an HDF5 file has its legacy layout, Keras 3's, or plain datasets, told by what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.limits import judged
from ckptkit.formats.hdf5.source import Hdf5Source
from ckptkit.formats.hdf5.tree import Tree, read_tree
from ckptkit.formats.keras.index import INDEX_SUFFIX, read_weight_map
from ckptkit.formats.keras.legacy import find_weights, read_legacy
from ckptkit.formats.keras.v3 import is_v3, read_vars_groups
from ckptkit.formats.zip.members import is_zip
from ckptkit.model import Contents, KerasV3, TensorSource

if TYPE_CHECKING:
    from ckptkit.formats.hdf5.dataset import Dataset
    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage


def files(path: Address) -> tuple[Address, ...]:
    """The file `path`, and the shards that it names where it is an index."""
    if not path.ends_with(INDEX_SUFFIX):
        return (path,)
    names = dict.fromkeys(name for names in read_weight_map(path).values() for name in names)
    return (path, *map(path.beside, names))


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """What the file `path` holds, whatever Keras keeps weights in: HDF5, an archive, or an index of shards.

    Raises:
        CkptkitError: it is none of them, cut short, or broken in its structure.
    """
    if path.ends_with(INDEX_SUFFIX):
        from ckptkit.formats.keras.shards import open_sharded

        return open_sharded(path)
    return path.read_with(_open_storage)


def _open_storage(storage: Storage) -> tuple[Contents, TensorSource]:
    if not is_zip(storage):
        return open_hdf5(storage)
    from ckptkit.formats.keras.archive import open_archive

    return open_archive(storage)


def open_hdf5(storage: Storage) -> tuple[Contents, TensorSource]:
    """What the HDF5 file in `storage` holds, and its source, which owns `storage` from then on.

    Raises:
        FormatError: not an HDF5 file, cut short, or broken in its structure.
    """
    tree = read_tree(Hdf5File(storage))
    datasets = judged(tree.datasets, storage.size)
    return _contents(tree, datasets), Hdf5Source(tree.file, datasets)


def _contents(tree: Tree, datasets: dict[str, Dataset]) -> Contents:
    damage = tuple(tree.problems())
    weights = find_weights(tree)
    if weights is not None:
        legacy = read_legacy(tree, weights)
        named = [
            pair
            for pairs in (
                *(group.weights for group in legacy.structure.groups),
                legacy.structure.top_level,
                legacy.structure.optimizer,
            )
            for pair in pairs
        ]
        aliases = {key: (name,) for name, key in named}
        order = dict.fromkeys([*aliases, *datasets])
        return Contents(
            format="keras-h5",
            producer=legacy.producer,
            tensors=tuple(datasets[key].tensor(aliases.get(key, ())) for key in order),
            structure=legacy.structure,
            notes=tuple(legacy.notes),
            damage=damage + tuple(legacy.damage),
        )
    if is_v3(tree):
        groups = read_vars_groups(tree)
        order = dict.fromkeys([key for group in groups for key in group.keys] + list(datasets))
        tensors = tuple(datasets[key].tensor() for key in order)
        return Contents("keras-weights-h5", None, tensors, KerasV3(groups), damage=damage)
    return Contents("hdf5", None, tuple(dataset.tensor() for dataset in datasets.values()), damage=damage)
