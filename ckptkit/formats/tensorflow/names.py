"""File names of TensorFlow's checkpoints: which files belong to one, and looking for them.

Sources: tensorflow/core/util/tensor_bundle/naming.cc, tensorflow/python/training/saver.py (`_temp_<hex>/part`),
tensorflow/core/util/tensor_slice_reader.cc (shards of V1 checkpoints).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
STATE_FILE = "checkpoint"

_MEMBER = re.compile(r"(?P<prefix>.*)(?:\.index|\.meta|\.data-\d{5}-of-\d{5})", re.DOTALL)
_DATA = re.compile(r".*\.data-\d{5}-of-\d{5}", re.DOTALL)
_V1_SHARD = re.compile(r"(?P<prefix>.*)-(?:\d{5}|\?{5}|(?:%3F){5})-of-(?P<count>\d{5})", re.DOTALL)
_TEMPORARY = re.compile(r"_temp(?:_[0-9a-f]+)?")


def shard_name(name: str, shard: int, count: int) -> str:
    """Name of data file number `shard` of a bundle called `name`."""
    return f"{name}.data-{shard:05d}-of-{count:05d}"


def shard_address(prefix: Address, shard: int, count: int) -> Address:
    """Data file number `shard` of the bundle `prefix`."""
    return prefix.add(shard_name("", shard, count))


def bundle_prefix(path: Address) -> Address | None:
    """The prefix of the bundle of which `path` is named as a member, or None."""
    match = _MEMBER.fullmatch(path.front)
    return path.fronted(match["prefix"]) if match else None


def is_data_shard(name: str) -> bool:
    """Whether `name` is that of a bundle's data file."""
    return _DATA.fullmatch(name) is not None


def split_v1_shard(name: str) -> tuple[str, int] | None:
    """(prefix, number of files) when `name` is one file of a sharded V1 checkpoint, or all (`x-?????-of-00002`).

    The second is what `Saver.save` returns and a state file holds.
    """
    match = _V1_SHARD.fullmatch(name)
    return (match["prefix"], int(match["count"])) if match and int(match["count"]) else None


def v1_prefix(path: Address) -> tuple[Address, int | None]:
    """What the files of a sharded V1 checkpoint have in common, and their number where `path` tells it."""
    split = split_v1_shard(path.front)
    return (path.fronted(split[0]), split[1]) if split else (path, None)


def bundles_in(folder: Address) -> list[str]:
    """Prefixes, without the folder, of the bundles in `folder`, sorted; the empty one counts."""
    return [name.removesuffix(INDEX_SUFFIX) for name in folder.names() if name.endswith(INDEX_SUFFIX)]


def v1_shards(path: Address) -> list[Address]:
    """The files that are there of a V1 checkpoint saved in several, sorted.

    Args:
        path: what they have in common, or one or all of them (see `split_v1_shard`).
    """
    prefix, count = v1_prefix(path)
    folder, base = prefix.folder, prefix.base
    try:
        names = folder.names()
    except CkptkitError:
        return []
    splits = [(name, split_v1_shard(name)) for name in names]
    found = [name for name, split in splits if split and split[0] == base and count in (None, split[1])]
    return [folder.join(name) for name in found]


def leftovers(prefix: Address) -> list[str]:
    """Names of the temporary folders that interrupted saves of `prefix` left beside it, sorted."""
    base = prefix.base
    try:
        names = prefix.folder.names()
    except CkptkitError:
        return []
    return [name for name in names if name.startswith(base) and _TEMPORARY.fullmatch(name[len(base) :])]
