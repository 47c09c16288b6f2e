"""`.keras` archives of Keras 2.13 to 3.15: a zip of `metadata.json`, `config.json` and `model.weights.h5`.

Source: `keras.src.saving.saving_lib` (Keras 3.15), `_save_model_to_fileobj`.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ckptkit.errors import ChecksumError, LimitError, NotFoundError
from ckptkit.formats.hdf5.file import Hdf5File
from ckptkit.formats.hdf5.limits import inflated_limit, judged
from ckptkit.formats.hdf5.source import Hdf5Source
from ckptkit.formats.hdf5.tree import read_tree
from ckptkit.formats.keras.config import MAX_BYTES, parse_config, parse_version
from ckptkit.formats.keras.v3 import read_vars_groups
from ckptkit.formats.zip.members import STORED, Member, check_member, members, open_member, stream_member
from ckptkit.model import Contents, KerasV3, StoredAsset, StoredTensor, TensorSource, VarsGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.storage.bytes import Storage

WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
METADATA = "metadata.json"

# Below it every object that has a `save_assets` of its own writes what it likes (saving_lib, `_save_state`).
ASSETS = "assets/"


def open_archive(storage: Storage) -> tuple[Contents, TensorSource]:
    """What the archive in `storage` holds, and a source that owns `storage` from then on.

    Raises:
        FormatError: not a zip archive, ambiguous, encrypted, or its weights are no HDF5 file.
    """
    directory = members(storage)
    notes: list[str] = []
    damage: list[str] = []
    config = _read_json(storage, directory, CONFIG, notes)
    metadata = _read_json(storage, directory, METADATA, notes) or {}
    tensors: tuple[StoredTensor, ...] = ()
    groups: tuple[VarsGroup, ...] = ()
    inner, member = None, None
    if WEIGHTS in directory:
        member = directory[WEIGHTS]
        inner, tensors, groups, problems = _open_weights(storage, member)
        damage += problems
    else:
        damage.append(f"the archive has no {WEIGHTS}")
    version = parse_version(metadata.get("keras_version"))
    saved = parse_version(metadata.get("date_saved"))
    producer = None if version is None else f"Keras {version}" + (f", saved {saved}" if saved else "")
    contents = Contents(
        format="keras",
        producer=producer,
        tensors=tensors,
        structure=KerasV3(groups, version, config),
        notes=tuple(notes),
        damage=tuple(damage),
        assets=tuple(StoredAsset(name, found.size) for name, found in directory.items() if name.startswith(ASSETS)),
    )
    return contents, ArchiveSource(storage, inner, member, directory)


def _read_json(
    storage: Storage, directory: Mapping[str, Member], name: str, notes: list[str]
) -> Mapping[str, Any] | None:
    """A JSON member, or None with a note."""
    if name not in directory:
        notes.append(f"the archive has no {name}")
        return None
    member = directory[name]
    if member.size > MAX_BYTES:
        notes.append(f"{name} is not read: {member.size} bytes, the limit is {MAX_BYTES}")
        return None
    value, problem = parse_config(b"".join(stream_member(storage, member)), name)
    if problem:
        notes.append(problem)
    return value


def _open_weights(
    storage: Storage, member: Member
) -> tuple[Hdf5Source, tuple[StoredTensor, ...], tuple[VarsGroup, ...], list[str]]:
    """(source, tensors, groups, damage) of the weights member; judged by the size of the archive, not of the member."""
    weights = open_member(storage, member, inflated_limit(storage.size))
    with ExitStack() as opened:
        opened.callback(weights.close)
        tree = read_tree(Hdf5File(weights))
        groups = read_vars_groups(tree)
        opened.pop_all()
    datasets = judged(tree.datasets, storage.size)
    order = dict.fromkeys([key for group in groups for key in group.keys] + list(datasets))
    tensors = tuple(datasets[key].tensor() for key in order)
    return Hdf5Source(tree.file, datasets), tensors, groups, list(tree.problems())


class ArchiveSource:
    """The source of the weights member, whose checksum is verified once, before the first data are handed out."""

    def __init__(
        self, storage: Storage, inner: Hdf5Source | None, member: Member | None, directory: Mapping[str, Member]
    ) -> None:
        self._storage = storage
        self._inner = inner
        self._member = member
        self._directory = directory
        self._lock = threading.Lock()
        self._checked = member is None or member.method != STORED
        self._problem: ChecksumError | None = None

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Bytes from `offset` on of tensor `key`, in little-endian order."""
        self._source(key).read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes of tensor `key` in pieces, each a view of `buffer`."""
        yield from self._source(key).stream(key, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """The strings of tensor `key` in C order."""
        return self._source(key).read_strings(key)

    def stream_asset(self, name: str) -> Iterator[bytes]:
        """The bytes of the member `name`, checksum verified."""
        member = self._directory.get(name)
        if member is None:
            raise NotFoundError("no such asset", path=self._storage.name, key=name)
        limit = inflated_limit(self._storage.size)
        if member.size > limit:
            raise LimitError(
                "an asset is too large to inflate", path=self._storage.name, key=name,
                expected=f"at most {limit} bytes", found=member.size,
            )  # fmt: skip
        yield from stream_member(self._storage, member)

    def close(self) -> None:
        """Give back the files; idempotent."""
        if self._inner is not None:
            self._inner.close()
        self._storage.close()

    def _source(self, key: str) -> Hdf5Source:
        if self._inner is None:
            raise NotFoundError("no such variable", path=self._storage.name, key=key)
        with self._lock:
            if not self._checked and self._member is not None:
                try:
                    check_member(self._storage, self._member)
                except ChecksumError as error:
                    self._problem = error
                self._checked = True
        if self._problem is not None:
            raise ChecksumError(
                self._problem.problem,
                path=self._problem.path,
                key=self._problem.key,
                expected=self._problem.expected,
                found=self._problem.found,
            )
        return self._inner
