"""HDF5 files: Keras's legacy layout, Keras 3's, or plain datasets, told apart by what is in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.formats.hdf5_file import Hdf5File
from ckptkit.formats.hdf5_limits import judged
from ckptkit.formats.hdf5_source import Hdf5Source
from ckptkit.formats.hdf5_tree import Tree, read_tree
from ckptkit.formats.keras_h5 import find_weights, read_legacy
from ckptkit.formats.keras_v3 import is_v3, read_vars_groups
from ckptkit.model import Contents, KerasV3, TensorSource

if TYPE_CHECKING:
    from ckptkit.formats.hdf5_dataset import Dataset
    from ckptkit.formats.storage import Storage


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
