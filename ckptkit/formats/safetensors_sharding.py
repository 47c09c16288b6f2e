"""Sharded safetensors: files of their own, and an index of which tensor is in which.

Source: what `transformers` and `huggingface_hub` write (`model-00001-of-00003.safetensors`, and
`model.safetensors.index.json` with `metadata.total_size` and `weight_map`); numbers begin at 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import NotFoundError
from ckptkit.formats.names import beside
from ckptkit.formats.output import free_shard_count, writing
from ckptkit.formats.readback import Recorder, verify_written
from ckptkit.formats.safetensors import (
    INDEX_SUFFIX,
    open_safetensors,
    read_index,
    rewrite_safetensors,
    write_safetensors,
)
from ckptkit.formats.sharding import divided
from ckptkit.formats.storage import open_storage
from ckptkit.formats.stores import absolute
from ckptkit.model import Contents, StoredTensor, TensorSource, TensorSpec

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind


@dataclass(frozen=True, slots=True)
class SafetensorsShard:
    """One file, new or like one of a template's; see `Shard`."""

    name: str
    tensors: tuple[StoredTensor, ...]
    """All that it holds."""
    template: str | None = None
    replaced: tuple[TensorSpec, ...] = ()
    """Those of them that are not the template's."""

    @property
    def keys(self) -> Sequence[str]:
        """See `Shard.keys`."""
        return [spec.name for spec in self.replaced] if self.template else [tensor.key for tensor in self.tensors]

    @property
    def nbytes(self) -> int:
        """See `Shard.nbytes`."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def write(self, path: str, source: TensorSource) -> None:
        """See `Shard.write`."""
        from ckptkit.formats.detect import open_contents

        recorder = Recorder(source)
        if self.template is None:
            write_safetensors(path, Contents("safetensors", None, self.tensors), recorder)
        else:
            rewrite_safetensors(path, self.template, {spec.name: spec for spec in self.replaced}, recorder)
        verify_written(open_contents, path, recorder.digests)


class SafetensorsSharding:
    """All files, and the index; see `Sharding`."""

    kind: Kind = "safetensors-sharded"

    def __init__(self, shards: Sequence[SafetensorsShard], order: Sequence[str]) -> None:
        self.shards = shards
        self._order = order

    def finish(self, path: str, written: Sequence[None]) -> None:  # noqa: ARG002
        """See `Sharding.finish`."""
        holder = {tensor.key: shard.name for shard in self.shards for tensor in shard.tensors}
        index: dict[str, Any] = {
            "metadata": {"total_size": sum(shard.nbytes for shard in self.shards)},
            "weight_map": {key: holder[key] for key in self._order},
        }
        with writing(path):
            Path(path).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def new_safetensors_shards(contents: Contents, final: str, count: int) -> SafetensorsSharding:
    """Shards of a new checkpoint, about equal in size."""
    groups = [group for group in divided(contents.tensors, count, lambda tensor: tensor.nbytes) if group]
    names = _names(final, max(len(groups), 1))
    shards = [SafetensorsShard(name, tuple(group)) for name, group in zip(names, groups or [[]], strict=False)]
    shards += [SafetensorsShard(name, ()) for name in names[len(shards) :]]
    return SafetensorsSharding(shards, [tensor.key for tensor in contents.tensors])


def like_safetensors_shards(template: str, tensors: Mapping[str, TensorSpec], final: str) -> SafetensorsSharding:
    """The template's shards, in which `tensors` hold other values."""
    weight_map = read_index(template)
    unknown = tensors.keys() - weight_map.keys()
    if unknown:
        raise NotFoundError("the template has no such tensor", path=template, key=min(unknown))
    old = list(dict.fromkeys(weight_map.values()))
    shards = []
    names = _names(final, len(old))
    for name, held in zip(names, old, strict=False):
        path = beside(template, held)
        with closing(open_storage(path)) as storage:
            stored = open_safetensors(storage)[0].tensors
        replaced = tuple(tensors[tensor.key] for tensor in stored if tensor.key in tensors)
        shards.append(SafetensorsShard(name, stored, absolute(path), replaced))
    shards += [SafetensorsShard(name, ()) for name in names[len(shards) :]]
    return SafetensorsSharding(shards, list(weight_map))


def _names(final: str, count: int) -> list[str]:
    """Names of `count` shards or more, none of which is there: until the index is replaced the old one is whole."""
    count = free_shard_count(final, "safetensors-sharded", at_least=count)
    stem = Path(final).name.removesuffix(INDEX_SUFFIX)
    return [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
