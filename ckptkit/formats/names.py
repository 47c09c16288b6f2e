"""File names of TensorFlow's checkpoints: which files belong to one, and looking for them.

Paths are text, local or URLs: pathlib drops a final slash, which is the place of a bundle whose name is empty, and makes
one slash of two. A path is put together and taken apart only here and in the stores.

Sources: tensorflow/core/util/tensor_bundle/naming.cc, tensorflow/python/training/saver.py (`_temp_<hex>/part`),
tensorflow/core/util/tensor_slice_reader.cc (shards of V1 checkpoints).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError
from ckptkit.formats.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
STATE_FILE = "checkpoint"

_MEMBER = re.compile(r"(?P<prefix>.*)(?:\.index|\.meta|\.data-\d{5}-of-\d{5})", re.DOTALL)
_DATA = re.compile(r".*\.data-\d{5}-of-\d{5}", re.DOTALL)
_V1_SHARD = re.compile(r"(?P<prefix>.*)-(?:\d{5}|\?{5}|(?:%3F){5})-of-(?P<count>\d{5})", re.DOTALL)
_TEMPORARY = re.compile(r"_temp(?:_[0-9a-f]+)?")


def shard_path(prefix: str, shard: int, count: int) -> str:
    """Data file number `shard` of the bundle `prefix`."""
    return add(prefix, f".data-{shard:05d}-of-{count:05d}")


def bundle_prefix(path: str) -> str | None:
    """The prefix of the bundle of which `path` is named as a member, or None."""
    front, tail = _split(path)
    match = _MEMBER.fullmatch(front)
    return match["prefix"] + tail if match else None


def is_data_shard(path: str) -> bool:
    """Whether `path` is named as a bundle's data file."""
    return _DATA.fullmatch(_split(path)[0]) is not None


def split_v1_shard(path: str) -> tuple[str, int] | None:
    """(prefix, number of files) when `path` is one file of a sharded V1 checkpoint, or all (`x-?????-of-00002`).

    The second is what `Saver.save` returns and a state file holds.
    """
    front, tail = _split(path)
    match = _V1_SHARD.fullmatch(front)
    return (match["prefix"] + tail, int(match["count"])) if match and int(match["count"]) else None


def add(path: str, ending: str) -> str:
    """`path` with `ending` at the end of its name."""
    front, tail = _split(path)
    return front + ending + tail


def ends_with(path: str, ending: str) -> bool:
    """Whether the name of `path` ends in `ending`."""
    return _split(path)[0].endswith(ending)


def without(path: str, ending: str) -> str:
    """`path` without `ending`, if its name ends so."""
    front, tail = _split(path)
    return front.removesuffix(ending) + tail


def _split(path: str) -> tuple[str, str]:
    """`path` up to the end of its name, and what is no part of the name."""
    tail = store_of(path).tail(path)
    return path.removesuffix(tail), tail


def is_file(path: str) -> bool:
    """Whether `path` is a regular file or an object; nothing is opened."""
    return store_of(path).is_file(path)


def is_folder(path: str) -> bool:
    """Whether `path` is a folder (links followed), or a prefix under which there are objects."""
    return store_of(path).is_folder(path)


def file_size(path: str) -> int:
    """Bytes of the file `path`; nothing is opened.

    Raises:
        NotFoundError: nothing is there, or a link leads nowhere.
        CkptkitError: it is a folder, FIFO, device or socket, or may not be looked at.
    """
    return store_of(path).size(path)


def list_folder(path: str) -> list[str]:
    """Names in the folder `path`, sorted; an error when it is none or may not be read."""
    return store_of(path).list_folder(path)


def files_below(folder: str) -> Iterator[str]:
    """Paths, from `folder` on, of all files in it and below, and of links to folders, which are not followed."""
    return store_of(folder).files_below(folder)


def folder_of(path: str) -> str:
    """The folder in which `path` lies."""
    return store_of(path).folder_of(path)


def base_name(path: str) -> str:
    """The last part of `path`; empty for a folder written with a slash."""
    return store_of(path).base_name(path)


def join(folder: str, name: str) -> str:
    """`name` inside `folder`."""
    return store_of(folder).join(folder, name)


def beside(path: str, name: str) -> str:
    """The file `name` in the folder of `path`."""
    return join(folder_of(path), name)


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
