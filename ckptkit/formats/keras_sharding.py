"""Sharded Keras weights whose files are written by several processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import NotFoundError
from ckptkit.formats.hdf5_file import Hdf5File
from ckptkit.formats.hdf5_tree import read_tree
from ckptkit.formats.hdf5_write import NewGroup, write_file
from ckptkit.formats.keras_rewrite import rewrite_file
from ckptkit.formats.keras_v3 import MAX_SHARDS, divide_groups, read_weight_map, shard_name, write_index
from ckptkit.formats.names import beside
from ckptkit.formats.readback import Recorder, verify_written
from ckptkit.formats.sharding import MOST_BYTES
from ckptkit.formats.storage import open_storage, read
from ckptkit.formats.stores import absolute
from ckptkit.model import Contents, TensorSource, TensorSpec

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind


@dataclass(frozen=True, slots=True)
class NewKerasShard:
    """One new file; see `Shard`."""

    name: str
    groups: tuple[NewGroup, ...]

    @property
    def keys(self) -> Sequence[str]:
        """See `Shard.keys`."""
        return [tensor.key for group in self.groups for tensor in group.tensors]

    @property
    def nbytes(self) -> int:
        """See `Shard.nbytes`."""
        return sum(tensor.nbytes for group in self.groups for tensor in group.tensors)

    def write(self, path: str, source: TensorSource) -> None:
        """See `Shard.write`."""
        recorder = Recorder(source)
        write_file(path, self.groups, recorder)
        _verify(path, recorder)


class NewKerasShards:
    """All files of new weights, and the index `final`; see `Sharding`."""

    kind: Kind = "sharded"

    def __init__(self, contents: Contents, final: str, count: int) -> None:
        total = sum(tensor.nbytes for tensor in contents.tensors)
        most = min(-(-total // min(count, MAX_SHARDS)), MOST_BYTES)
        divided = divide_groups(final, contents, most)
        self._index = {"metadata": {"total_size": total}, "weight_map": divided.weight_map}
        self.shards = [
            NewKerasShard(shard_name(final, number), tuple(groups)) for number, groups in enumerate(divided.shards)
        ]

    def finish(self, path: str, written: Sequence[None]) -> None:  # noqa: ARG002
        """See `Sharding.finish`."""
        write_index(path, self._index)


@dataclass(frozen=True, slots=True)
class LikeKerasShard:
    """A copy of one of a template's files with other values; see `Shard`."""

    name: str
    template: str
    tensors: tuple[TensorSpec, ...]
    size: int

    @property
    def keys(self) -> Sequence[str]:
        """See `Shard.keys`."""
        return [spec.name for spec in self.tensors]

    @property
    def nbytes(self) -> int:
        """See `Shard.nbytes`."""
        return self.size

    def write(self, path: str, source: TensorSource) -> None:
        """See `Shard.write`."""
        recorder = Recorder(source)
        with closing(open_storage(self.template)) as storage:
            rewrite_file(path, storage, {spec.name: spec for spec in self.tensors}, recorder)
        _verify(path, recorder)


class LikeKerasShards:
    """All files of a copy of the sharded weights `template`; see `Sharding`."""

    kind: Kind = "sharded"

    def __init__(self, template: str, tensors: Mapping[str, TensorSpec], final: str) -> None:
        self._template = template
        self._weight_map = read_weight_map(template)
        names = list(dict.fromkeys(name for found in self._weight_map.values() for name in found))
        self._renamed = {name: shard_name(final, number) for number, name in enumerate(names)}
        self.shards = []
        left = dict(tensors)
        for name in names:
            path = beside(template, name)
            with closing(open_storage(path)) as storage:
                here = tuple(left.pop(key) for key in read_tree(Hdf5File(storage)).datasets if key in left)
                there = absolute(path)
                self.shards.append(LikeKerasShard(self._renamed[name], there, here, storage.size))
        if left:
            raise NotFoundError("the template has no such tensor", path=template, key=min(left))

    def finish(self, path: str, written: Sequence[None]) -> None:  # noqa: ARG002
        """See `Sharding.finish`."""
        with closing(open_storage(self._template)) as storage:
            index = json.loads(bytes(read(storage, 0, storage.size)))
        names = {f"/{group}": [self._renamed[name] for name in found] for group, found in self._weight_map.items()}
        write_index(path, {**index, "weight_map": names})


def _verify(path: str, recorder: Recorder) -> None:
    from ckptkit.formats.detect import open_contents

    verify_written(open_contents, path, recorder.digests)
