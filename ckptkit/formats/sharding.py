"""Outputs in shards that are written independently of each other, each by whoever gets it, and their index last.

A `Shard` is one data file, small enough to go to another process; `Sharding` is all of them, and what is written when
all are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ckptkit.errors import UnsupportedError

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind
    from ckptkit.model import Contents, TensorSource, TensorSpec

Item = TypeVar("Item")

# Most bytes of a shard: what is lost with a dying worker, and one worker's longest go. Keras's own default is 5 GiB.
MOST_BYTES = 4 << 30

# Fewer bytes are not worth a worker of their own.
_LEAST_BYTES = 16 << 20

FORMATS = ("tensor-bundle", "keras-sharded", "safetensors-sharded")
"""What can be written in shards."""


class Shard(Protocol):
    """One data file of an output; pickles."""

    @property
    def name(self) -> str:
        """Of the file, beside the index."""

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the tensors that are asked of the source."""

    @property
    def nbytes(self) -> int:
        """About its size."""

    def write(self, path: str, source: TensorSource) -> Any:
        """Write it to `path` and read it back; what comes of it goes to `Sharding.finish`, pickled.

        Raises:
            CkptkitError: a tensor cannot be read, or what was written reads back as something else.
        """


class Sharding(Protocol):
    """All shards of an output, in order."""

    @property
    def kind(self) -> Kind:
        """What the output is made of."""

    @property
    def shards(self) -> Sequence[Shard]:
        """The data files."""

    def finish(self, path: str, written: Sequence[Any]) -> None:
        """Write the index `path` beside the shards that are there, given what `Shard.write` gave for each."""


def shard_count(total: int, workers: int) -> int:
    """How many shards `total` bytes take: one for each worker where there is enough, and none too large."""
    return max(-(-total // MOST_BYTES), min(workers, total // _LEAST_BYTES), 1)


def divided(items: Iterable[Item], count: int, size: Callable[[Item], int]) -> list[list[Item]]:
    """`items` in `count` groups of neighbours, about equal in size; some may be empty."""
    listed = list(items)
    total = sum(map(size, listed))
    groups: list[list[Item]] = [[] for _ in range(count)]
    at = 0
    for item in listed:
        middle = 2 * at + size(item)
        groups[min(middle * count // (2 * total), count - 1) if total else 0].append(item)
        at += size(item)
    return groups


def new_shards(format: str, contents: Contents, final: str, workers: int) -> Sharding:  # noqa: A002
    """How a new checkpoint is divided.

    Args:
        format: one of `FORMATS`.
        contents: what it is to hold.
        final: the path that it gets in the end; its shards take names that are free there.
        workers: how many there are to write.
    """
    count = shard_count(sum(tensor.nbytes for tensor in contents.tensors), workers)
    if format == "tensor-bundle":
        from ckptkit.formats.tensor_bundle.sharding import BundleSharding
        from ckptkit.formats.tensor_bundle.writer import outline_new

        return BundleSharding(outline_new(final, contents), final, count)
    if format == "keras-sharded":
        from ckptkit.formats.keras_sharding import NewKerasShards

        return NewKerasShards(contents, final, count)
    if format == "safetensors-sharded":
        from ckptkit.formats.safetensors_sharding import new_safetensors_shards

        return new_safetensors_shards(contents, final, count)
    raise UnsupportedError(f"{format} is one file, which one process writes", path=final, hint=_instead())


def like_shards(
    format: str,  # noqa: A002
    template: str,
    tensors: Mapping[str, TensorSpec],
    final: str,
    workers: int,
) -> Sharding:
    """How a copy of `template`, in which `tensors` hold other values, is divided; see `new_shards`.

    Where a shard is a file with a structure of its own, the shards are the template's.
    """
    if format == "tensor-bundle":
        from ckptkit.formats.tensor_bundle.sharding import BundleSharding
        from ckptkit.formats.tensor_bundle.writer import outline_like

        outline = outline_like(template, tensors)
        return BundleSharding(outline, final, shard_count(sum(item.nbytes for item in outline.items), workers))
    if format == "keras-sharded":
        from ckptkit.formats.keras_sharding import LikeKerasShards

        return LikeKerasShards(template, tensors, final)
    if format == "safetensors-sharded":
        from ckptkit.formats.safetensors_sharding import like_safetensors_shards

        return like_safetensors_shards(template, tensors, final)
    raise UnsupportedError(f"{format} is one file, which one process writes", path=final, hint=_instead())


def _instead() -> str:
    return f"Leave --engine out, or take a format that has shards: {', '.join(FORMATS)}"
