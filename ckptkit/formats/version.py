"""Which files a checkpoint is made of, and a short text that tells one state of them from another."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.formats.locate import Located, locate
from ckptkit.formats.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    add,
    base_name,
    beside,
    is_file,
    join,
    shard_path,
)
from ckptkit.formats.stores import is_url, store_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ABSENT = "absent"


def version_of(path: str) -> str:
    """A short text that changes when any file of the checkpoint at `path` is replaced, rewritten, added or removed.

    It is the same in every process and on every machine that sees the same files. Of a local file it knows size, time of
    the last change and inode; of an object its size and what the store gives (ETag, generation, version, time).

    Args:
        path: as `formats.open_contents` takes it.

    Raises:
        CkptkitError: nothing is there, or nothing that is read here.
    """
    if not is_url(path):
        return version_of_files(files_of(locate(path)))
    from ckptkit.formats.remote.store import looking_once

    with looking_once():
        files = files_of(locate(path))
    return version_of_files(files)


def version_of_files(paths: Iterable[str]) -> str:
    """The version of these files together; one that is not there counts too."""
    lines = sorted(f"{base_name(path)}\0{version}" for path, version in _versions(list(paths)))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def confirm_unchanged(paths: Iterable[str]) -> None:
    """Of those `paths` that are URLs and open in this process, raise unless every file is what it was when it was opened.

    To be called before what was made of them becomes visible; a source that is closed makes sure by itself.
    """
    urls = [path for path in paths if is_url(path)]
    if urls:
        from ckptkit.formats.remote.pinned import confirm_open

        confirm_open(urls)


def _versions(paths: list[str]) -> Iterator[tuple[str, str]]:
    if paths and all(map(is_url, paths)):
        from ckptkit.formats.remote.store import states

        with suppress(CkptkitError):  # one that may not be looked at; the others count all the same
            return zip(paths, (state or _ABSENT for state in states(paths)), strict=True)
    return ((path, _version(path)) for path in paths)


def _version(path: str) -> str:
    try:
        return store_of(path).version(path)
    except NotFoundError:
        return _ABSENT
    except CkptkitError as error:
        return error.problem  # a shard that may not be read is listed as damage, and is no reason to fail here


def files_of(found: Located) -> tuple[str, ...]:
    """Every file that reading a checkpoint may read, whether it is there or not."""
    files = _files(found)
    return (*files, found.state) if found.state else files


def _files(found: Located) -> tuple[str, ...]:
    path = found.path
    if found.kind == "bundle":
        return _bundle_files(path)
    if found.kind == "saved-model":
        from ckptkit.formats.saved_model import GRAPH_FILE, KERAS_METADATA_FILE, variables_prefix

        graphs = (join(path, GRAPH_FILE), join(path, KERAS_METADATA_FILE))
        return (*graphs, *_bundle_files(variables_prefix(path)))
    if found.kind == "v1":
        from ckptkit.formats.tensor_slices import find_files

        prefix, shards, _ = find_files(path)
        return (*shards, add(prefix, META_SUFFIX))
    if found.kind == "safetensors-index":
        from ckptkit.formats.safetensors import read_index

        return (path, *(beside(path, name) for name in dict.fromkeys(read_index(path).values())))
    if found.kind == "keras-sharded":
        from ckptkit.formats.keras_v3 import read_weight_map

        names = dict.fromkeys(name for names in read_weight_map(path).values() for name in names)
        return (path, *(beside(path, name) for name in names))
    return (path,)


def _bundle_files(prefix: str) -> tuple[str, ...]:
    from ckptkit.formats.tensor_bundle.reader import read_header

    index = add(prefix, INDEX_SUFFIX)
    if not is_file(index):
        return (index,)
    count = read_header(prefix).num_shards
    return (index, add(prefix, META_SUFFIX), *(shard_path(prefix, shard, count) for shard in range(count)))
