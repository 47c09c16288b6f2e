"""What `ckptkit git textconv` does: the facts of one file that are the same wherever it lies and whoever wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ckptkit.api.open import bind
from ckptkit.canonical import build
from ckptkit.canonical.naming import natural_key
from ckptkit.compare.measuring import measure
from ckptkit.errors import CkptkitError
from ckptkit.formats.locate import locate
from ckptkit.formats.sniff import is_table
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX
from ckptkit.model import CHUNK_BYTES, CheckpointSpec, Contents, Layer, Variable
from ckptkit.storage.address import Address, address
from ckptkit.storage.bytes import Storage, read

# Longer texts are told by their digest: what is meant are pointers and other small files under a checkpoint's ending.
_LONGEST_TEXT = 1 << 20

_LFS_POINTER = "version https://git-lfs"

# Orders that a rewritten file with the same contents need not have: layers are then sorted by name.
_UNSTABLE_ORDERS = {"file-layout", "natural", "attributes", "sorted"}

# What follows is when an archive was written (`formats.keras.archive`).
_WHEN = ", saved "

_Row = TypeVar("_Row", Layer, Variable)


@dataclass(frozen=True, slots=True)
class Listing:
    """A checkpoint as facts that do not depend on its path, its neighbours or when it was written.

    Attributes:
        spec: the canonical map; its path, producer and notes are no such facts.
        layers: those with weights: in the order the file states, else sorted by name.
        variables: all of them, sorted by name.
        contents: canonical name -> what its value is (`sha256 …`, `crc32c …`, `unreadable: …`).
        producer: who wrote it, without when, or None.
        architecture: SHA-256 of the stored architecture as JSON with sorted keys, or None.
        configs: name of a layer -> the same of its own configuration.
    """

    spec: CheckpointSpec
    layers: tuple[Layer, ...]
    variables: tuple[Variable, ...]
    contents: Mapping[str, str]
    producer: str | None
    architecture: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A file that is not a checkpoint, or a broken one.

    Attributes:
        problem: why, in one line without a path; None for an ordinary text, which merely is called like a checkpoint.
        size: of the file in bytes.
        sha256: of the file.
        text: the file itself where it is a short text, such as a git-lfs pointer.
    """

    problem: str | None
    size: int
    sha256: str
    text: str | None


def read_listing(path: str) -> Listing | Unlisted:
    """List the file `path` alone, reading each tensor once in bounded memory.

    A bundle's index is listed with the checksums it stores, and its data files are not looked at: git hands over one
    file at a time.

    Raises:
        CkptkitError: nothing can be read at `path` at all.
    """
    at = address(path)
    with closing(at.open()) as storage:
        try:
            return _list_index(at) if _is_index(at, storage) else _list_file(path)
        except CkptkitError as error:
            return _unlisted(storage, _pathless(error))


def _is_index(path: Address, storage: Storage) -> bool:
    return path.ends_with(INDEX_SUFFIX) and is_table(storage)


def _list_index(path: Address) -> Listing:
    from ckptkit.formats.tensorflow.bundle.reader import list_index

    contents, checksums = list_index(path.without(INDEX_SUFFIX))
    spec = build(contents, path.text)

    def content(variable: Variable) -> str:
        return f"unreadable: {variable.problem}" if variable.problem else f"crc32c {checksums[variable.key]}"

    return _listing(spec, contents, {variable.name: content(variable) for variable in spec.variables})


def _list_file(path: str) -> Listing:
    location = locate(path)
    contents, source = location.open()
    with bind(contents, source, location) as checkpoint:
        variables = checkpoint.spec.variables
        readable = tuple(variable for variable in variables if not variable.problem)
        found = {variable.name: f"unreadable: {variable.problem}" for variable in variables if variable.problem}
        for variable, result in zip(readable, measure(checkpoint, readable, stats=False, hashes=True), strict=True):
            found[variable.name] = (
                f"unreadable: {_pathless(result)}" if isinstance(result, CkptkitError) else f"sha256 {result.sha256}"
            )
        return _listing(checkpoint.spec, contents, found)


def _listing(spec: CheckpointSpec, contents: Contents, values: Mapping[str, str]) -> Listing:
    config = getattr(contents.structure, "config", None)
    return Listing(
        spec,
        _sorted(spec.layers) if spec.order_source in _UNSTABLE_ORDERS else spec.layers,
        _sorted(spec.variables),
        values,
        spec.producer and spec.producer.partition(_WHEN)[0],
        _digest(config) if config else None,
        {layer.name: _digest(layer.config) for layer in spec.layers if layer.config},
    )


def _sorted(rows: tuple[_Row, ...]) -> tuple[_Row, ...]:
    by: Callable[[_Row], Any] = lambda row: (natural_key(row.name), row.name)  # noqa: E731  # `a01` and `a1` tie
    return tuple(sorted(rows, key=by))


def _digest(config: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    except RecursionError:
        return "unknown: it is nested too deeply"


def _pathless(error: CkptkitError) -> str:
    """The error without the file's name and what is said of files beside it, which differ from call to call."""
    error.path = error.hint = None
    return str(error)


def _unlisted(storage: Storage, problem: str) -> Unlisted:
    digest = hashlib.sha256()
    for at in range(0, storage.size, CHUNK_BYTES):
        digest.update(read(storage, at, min(CHUNK_BYTES, storage.size - at)))
    text = _text(storage)
    ordinary = text is not None and not text.startswith(_LFS_POINTER)
    return Unlisted(None if ordinary else problem, storage.size, digest.hexdigest(), text)


def _text(storage: Storage) -> str | None:
    """All of a short file in UTF-8; None for anything else."""
    if not 0 < storage.size <= _LONGEST_TEXT:
        return None
    data = read(storage, 0, storage.size)
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None
