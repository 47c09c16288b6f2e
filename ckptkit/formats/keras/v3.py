"""Keras 3's weights layout, in a `.weights.h5` or in a shard of several.

Source: `keras.src.saving.saving_lib` (Keras 3.15), `H5IOStore`. Every object that owns variables has a group, named by
its place in the model, and in it a group `vars` with datasets `0`, `1`, …; recent versions give `vars` the attribute
`name`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ckptkit.model import VarsGroup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.hdf5.tree import Tree

# Groups that hold the layers of a model and are no objects themselves.
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


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
            keys = tuple(sorted(members[path], key=number))
            owner = tree.groups[path.rpartition("/")[0]]
            address = max([owner.address, group.address] + [tree.datasets[key].address for key in keys])
            groups.append(VarsGroup(owner_path(path), name, keys, address))
    return tuple(sorted(groups, key=lambda found: found.address or 0))


def owner_path(path: str) -> str:
    """Path of the object that owns the `vars` group at `path`; Keras on Windows wrote backslashes into link names."""
    return path.removesuffix("vars").rstrip("/").replace("\\", "/")


def _is_vars(path: str) -> bool:
    return path == "vars" or path.endswith("/vars")


def number(key: str) -> tuple[int, int, str]:
    """Sorts `vars/10` after `vars/2`, and names that are no number after those that are."""
    name = key.rpartition("/")[2]
    return (0, int(name), "") if name.isdecimal() and len(name) < 19 else (1, 0, name)


def vars_path(group: VarsGroup) -> str:
    """Path of the `vars` group itself."""
    return f"{group.path}/vars".lstrip("/")


def empty_groups(written: Iterable[str]) -> list[str]:
    """The `vars` of objects that only hold others: tf_keras does not load a file without them."""
    known = set(written)
    empty: dict[str, None] = {}
    for where in known:
        parts = where.split("/")[:-1]
        for depth in range(len(parts)):
            owner = "/".join(parts[:depth])
            found = f"{owner}/vars".lstrip("/")
            if found not in known and not owner.endswith(_CONTAINERS):
                empty[found] = None
    return sorted(empty)
