"""Writing what Keras loads: new weights, and copies of a template with other values."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ckptkit.errors import NotFoundError, UnsupportedError
from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.tree import read_tree
from ckptkit.formats.hdf5.write import NewGroup, write_file
from ckptkit.formats.keras.index import INDEX_SUFFIX, read_weight_map, shard_name, write_index
from ckptkit.formats.keras.legacy_writer import legacy_groups
from ckptkit.formats.keras.reader import open as open_keras
from ckptkit.formats.keras.rewrite import rewrite
from ckptkit.formats.keras.shards import MAX_SHARDS
from ckptkit.formats.keras.v3 import empty_groups, vars_path
from ckptkit.formats.parts import MOST_BYTES, FilePart, Outline, shard_count
from ckptkit.model import Contents, KerasV3, StoredTensor, TensorSpec
from ckptkit.storage.bytes import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ckptkit.storage.address import Address


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002
    """New weights: a file in the legacy layout, one in Keras 3's, or shards of the latter and their index.

    Args:
        format: `keras-h5`, `keras-weights-h5` or `keras-sharded`.
        contents: tensors, and `LegacyKeras` evidence for the first, `KerasV3` for the others.
        final: the file that it gets to be, or the index.
        workers: how many there are to write shards.

    Raises:
        UnsupportedError: evidence of another layout.
    """
    if format == "keras-sharded":
        return _new_shards(contents, final, workers)
    if format == "keras-h5":
        groups: Sequence[NewGroup] = legacy_groups(final.text, contents)
    else:
        groups = [NewGroup(where, _named(name), tensors) for where, name, tensors in _v3_groups(final.text, contents)]
        groups += [NewGroup(where) for where in empty_groups(group.path for group in groups)]
    return Outline([_new_part(final.base, groups)])


def _new_part(name: str, groups: Sequence[NewGroup]) -> FilePart:
    tensors = [tensor for group in groups for tensor in group.tensors]
    keys, nbytes = [tensor.key for tensor in tensors], sum(tensor.nbytes for tensor in tensors)
    return FilePart(name, keys, nbytes, partial(write_file, groups=groups), open_keras)


def _named(name: str | None) -> dict[str, Any]:
    return {} if name is None else {"name": name}


def _new_shards(contents: Contents, final: Address, workers: int) -> Outline:
    total = sum(tensor.nbytes for tensor in contents.tensors)
    wanted = min(shard_count(total, workers), MAX_SHARDS)
    divided = _divide(final.text, contents, min(-(-total // wanted), MOST_BYTES))
    index = {"metadata": {"total_size": total}, "weight_map": divided.weight_map}
    parts = [_new_part(shard_name(final.text, number), groups) for number, groups in enumerate(divided.shards)]
    return Outline(parts, partial(_finish, index))


def _finish(index: Mapping[str, Any], path: str, written: Sequence[None]) -> None:  # noqa: ARG001
    write_index(path, index)


class _Divided(NamedTuple):
    """Groups by shard, and the shards in which each group is."""

    shards: list[list[NewGroup]]
    weight_map: dict[str, list[str]]


def _divide(path: str, contents: Contents, shard_bytes: int) -> _Divided:
    """What goes into each shard; a tensor larger than one gets one of its own."""
    shards: list[list[NewGroup]] = [[]]
    weight_map: dict[str, list[str]] = {}
    held = 0
    for where, name, tensors in _v3_groups(path, contents):
        attributes = _named(name)
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
    return _Divided(shards, weight_map)


def _v3_groups(path: str, contents: Contents) -> Iterator[tuple[str, str | None, list[StoredTensor]]]:
    """(path of `vars`, its name, its tensors) in the order of the evidence; what no group owns comes last."""
    if not isinstance(contents.structure, KerasV3):
        raise UnsupportedError("Keras 3's layout needs groups of variables", path=path)
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    for group in contents.structure.groups:
        where = group.keys[0].rpartition("/")[0] if group.keys else vars_path(group)
        yield where, group.name, [tensors.pop(key) for key in group.keys]
    for key, tensor in tensors.items():
        yield key.rpartition("/")[0], None, [tensor]


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of `template` with other values: of one file, or of shards, which are then the template's.

    Args:
        template: a legacy HDF5 file, a `.weights.h5`, plain HDF5, a `.keras` archive or a `*.weights.json`.
        tensors: key in the template -> its spec, which is that of the template.
        final: the file that it gets to be, or the index.
        workers: how many there are to write; the template has as many shards as it has.

    Raises:
        NotFoundError: the template has no such tensor.
    """
    if not template.ends_with(INDEX_SUFFIX):
        return Outline([_like_part(final.base, template, tensors)])
    weight_map = read_weight_map(template)
    names = list(dict.fromkeys(name for found in weight_map.values() for name in found))
    renamed = {name: shard_name(final.text, number) for number, name in enumerate(names)}
    left = dict(tensors)
    parts = []
    for name in names:
        shard = template.beside(name)
        with closing(shard.open()) as storage:
            here = {key: left.pop(key) for key in read_tree(Hdf5File(storage)).datasets if key in left}
        parts.append(_like_part(renamed[name], shard, here))
    if left:
        raise NotFoundError("the template has no such tensor", path=template, key=min(left))
    with closing(template.open()) as storage:
        index = json.loads(bytes(read(storage, 0, storage.size)))  # its size and content were judged above
    new_map = {f"/{group}": [renamed[name] for name in found] for group, found in weight_map.items()}
    return Outline(parts, partial(_finish, {**index, "weight_map": new_map}))


def _like_part(name: str, template: Address, tensors: Mapping[str, TensorSpec]) -> FilePart:
    keys = [spec.name for spec in tensors.values()]
    there = template.absolute()  # read by whoever writes it, wherever that is
    return FilePart(name, keys, template.size(), partial(rewrite, template=there, tensors=tensors), open_keras)
