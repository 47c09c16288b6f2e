"""File names of TensorFlow's checkpoints: which files belong to one, and looking for them.

All that is known of folders and names is here, so that a store without folders can take its place. Paths are text:
pathlib drops a final slash, which is the place of a bundle whose name is empty.

Sources: tensorflow/core/util/tensor_bundle/naming.cc, tensorflow/python/training/saver.py (`_temp_<hex>/part`),
tensorflow/core/util/tensor_slice_reader.cc (shards of V1 checkpoints).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.storage import list_folder, regular_file_size

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
STATE_FILE = "checkpoint"

_MEMBER = re.compile(r"(?P<prefix>.*)(?:\.index|\.meta|\.data-\d{5}-of-\d{5})", re.DOTALL)
_DATA = re.compile(r".*\.data-\d{5}-of-\d{5}", re.DOTALL)
_V1_SHARD = re.compile(r"(?P<prefix>.*)-(?:\d{5}|\?{5})-of-(?P<count>\d{5})", re.DOTALL)
_TEMPORARY = re.compile(r"_temp(?:_[0-9a-f]+)?")


def shard_path(prefix: str, shard: int, count: int) -> str:
    """Data file number `shard` of the bundle `prefix`."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


def bundle_prefix(path: str) -> str | None:
    """The prefix of the bundle of which `path` is named as a member, or None."""
    match = _MEMBER.fullmatch(path)
    return match["prefix"] if match else None


def is_data_shard(path: str) -> bool:
    """Whether `path` is named as a bundle's data file."""
    return _DATA.fullmatch(path) is not None


def split_v1_shard(path: str) -> tuple[str, int] | None:
    """(prefix, number of files) when `path` is one file of a sharded V1 checkpoint, or all (`x-?????-of-00002`).

    The second is what `Saver.save` returns and a state file holds.
    """
    match = _V1_SHARD.fullmatch(path)
    return (match["prefix"], int(match["count"])) if match and int(match["count"]) else None


def is_file(path: str) -> bool:
    """Whether `path` is a regular file; nothing is opened."""
    try:
        regular_file_size(path)
    except CkptkitError:
        return False
    return True


def folder_of(path: str) -> str:
    """The folder in which `path` lies."""
    return os.path.dirname(path) or os.curdir  # noqa: PTH120


def base_name(path: str) -> str:
    """The last part of `path`; empty for a folder written with a slash."""
    return os.path.basename(path)  # noqa: PTH119


def join(folder: str, name: str) -> str:
    """`name` inside `folder`."""
    return os.path.join(folder, name)  # noqa: PTH118


def bundles_in(folder: str) -> list[str]:
    """Prefixes, without the folder, of the bundles in `folder`, sorted; the empty one counts."""
    names = list_folder(folder)
    return [name.removesuffix(INDEX_SUFFIX) for name in names if name.endswith(INDEX_SUFFIX)]


def v1_shards(path: str) -> list[str]:
    """The files that are there of a V1 checkpoint saved in several, sorted.

    Args:
        path: what they have in common, or one or all of them (see `split_v1_shard`).
    """
    prefix, count = split_v1_shard(path) or (path, None)
    folder, base = folder_of(prefix), base_name(prefix)
    try:
        names = list_folder(folder)
    except CkptkitError:
        return []
    splits = [(name, split_v1_shard(name)) for name in names]
    found = [name for name, split in splits if split and split[0] == base and count in (None, split[1])]
    return [join(folder, name) for name in found]


def leftovers(prefix: str) -> list[str]:
    """Names of the temporary folders that interrupted saves of `prefix` left beside it, sorted."""
    base = base_name(prefix)
    try:
        names = list_folder(folder_of(prefix))
    except CkptkitError:
        return []
    return [name for name in names if name.startswith(base) and _TEMPORARY.fullmatch(name[len(base) :])]


def files_below(folder: str) -> Iterator[str]:
    """Paths, from `folder` on, of all files in it and below, and of links to folders, which are not followed."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield os.path.relpath(join(parent, name), folder)
