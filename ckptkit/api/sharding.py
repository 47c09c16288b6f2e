"""Outputs whose shards are written by whoever an engine gives them to, and whose index is written last, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ckptkit.api.opening import Counter, Progress
from ckptkit.api.writing import Counted, placing
from ckptkit.engines import Engine, Told, Work
from ckptkit.errors import WriteError
from ckptkit.model import Checkpoint, Contents, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.placing import Place
    from ckptkit.formats.sharding import Shard, Sharding

# Only ever written in shards, with any engine.
_ALWAYS = "safetensors-sharded"


class DividedSource(TensorSource, Protocol):
    """A source of which a part can go to another process."""

    def restricted(self, keys: Iterable[str]) -> TensorSource:
        """Its tensors `keys` only; pickles."""


def new_sharding(format: str, contents: Contents, output: str, engine: Engine) -> Sharding | None:  # noqa: A002
    """How a new output is divided among the engine's workers; None where one process writes it whole.

    Raises:
        UnsupportedError: the workers are elsewhere, and the format is one file.
    """
    if not engine.elsewhere and format != _ALWAYS:
        return None
    from ckptkit.formats.sharding import FORMATS, new_shards

    return new_shards(format, contents, output, engine.workers if format in FORMATS else 1)


def like_sharding(
    template: Checkpoint, tensors: Mapping[str, TensorSpec], output: str, engine: Engine
) -> Sharding | None:
    """As `new_sharding`, for a copy of `template` in which `tensors` hold other values."""
    if not engine.elsewhere and template.format != _ALWAYS:
        return None
    from ckptkit.formats.sharding import FORMATS, like_shards

    workers = engine.workers if template.format in FORMATS else 1
    return like_shards(template.format, template.path, tensors, output, workers)


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard, the tensors that go into it, and where it goes."""

    shard: Shard
    source: TensorSource
    place: Place

    @property
    def nbytes(self) -> int:
        """About what is written."""
        return self.shard.nbytes


class ShardWork(Work[ShardTask, Any, Any]):
    """Writing shards."""

    def part(self, task: ShardTask, bench: None, told: Told) -> Any:  # noqa: ARG002
        """See `Work.part`."""
        with task.place.shard(task.shard.name, told) as path:
            return task.shard.write(path, Counted(task.source, told))

    def merge(self, task: ShardTask, parts: Sequence[Any]) -> Any:  # noqa: ARG002
        """See `Work.merge`."""
        return parts[0]


def write_shards(
    sharding: Sharding,
    source: DividedSource,
    output: str,
    inputs: Sequence[str],
    engine: Engine,
    *,
    force: bool,
    progress: Progress,
) -> None:
    """Write an output that is complete or not there.

    Args:
        sharding: its shards.
        source: gives what they ask for.
        output: where to.
        inputs: paths that are read.
        engine: whose workers write the shards.
        force: whether an existing output is replaced.
        progress: called while they are written.

    Raises:
        CkptkitError: a tensor cannot be read, or something cannot be written or reads back as something else.
    """
    with placing(output, force=force, inputs=inputs, sharding=sharding) as place:
        tasks = [ShardTask(shard, source.restricted(shard.keys), place) for shard in sharding.shards]
        counter = Counter(progress, sum(task.nbytes for task in tasks))
        written = engine.run(tasks, ShardWork(), cost=lambda task: task.nbytes, progress=counter)
        sharding.finish(place.path, written)
        with place.whole({shard.name for shard in sharding.shards}) as path:
            _check_listed(path, [key for shard in sharding.shards for key in shard.keys])


def _check_listed(path: str, keys: Sequence[str]) -> None:
    """Raise unless what was written opens, and lists every tensor that went there without a problem."""
    from ckptkit import formats

    contents, source = formats.open_contents(path)
    source.close()
    sound = {tensor.key for tensor in contents.tensors if not tensor.problem}
    missing = [key for key in keys if key not in sound]
    if missing or contents.damage:
        raise WriteError("what was written cannot be read back", path=path, key=missing[0] if missing else None)
