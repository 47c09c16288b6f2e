"""One way to write a checkpoint: its parts, by whoever an engine gives them to, and then what makes it complete.

A single file is one part. What was written is read back by whoever wrote it, before it gets its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ckptkit.engines import Counter, Engine, Told, Work
from ckptkit.errors import CkptkitError, UnsupportedError, WriteError
from ckptkit.formats import registry
from ckptkit.model import Contents, TensorSource
from ckptkit.output.placing import placed
from ckptkit.output.readback import Recorder, verify_written
from ckptkit.output.staging import syncing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ckptkit.formats.location import Location
    from ckptkit.formats.parts import Outline, Part
    from ckptkit.formats.registry import Format
    from ckptkit.model import Checkpoint, TensorSpec
    from ckptkit.output.placing import Destination
    from ckptkit.storage.address import Address


class DividedSource(TensorSource, Protocol):
    """A source of which a part can go to another process."""

    def restricted(self, keys: Iterable[str]) -> TensorSource:
        """Its tensors `keys` only; pickles."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a checkpoint goes, and how it is written.

    Attributes:
        at: its name, as its format has it.
        inputs: checkpoints that are read for it: it may be none of them, and they still have to be what they were.
        engine: whose workers write the parts.
        force: whether an existing output is replaced.
        progress: called while tensors are written.
    """

    at: Address
    inputs: Sequence[Checkpoint]
    engine: Engine
    force: bool
    progress: Callable[[int, int], None]

    def write_new(self, format: str, contents: Contents, source: DividedSource) -> None:  # noqa: A002
        """Write `contents` in a format, the tensors from `source` by the same keys.

        Raises:
            UnsupportedError: it is not written from variables alone, or cannot hold a tensor.
            CkptkitError: a tensor cannot be read, or something cannot be written or reads back as something else.
        """
        row = registry.named(format)
        if row.writes != "new":
            raise UnsupportedError(f"{format} is not written from variables alone", path=self.at)
        total = sum(tensor.nbytes for tensor in contents.tensors)
        self._write(row, row.writer().outline_new(format, contents, self.at, self._workers(row)), source, total)

    def write_like(self, template: Checkpoint, tensors: Mapping[str, TensorSpec], source: DividedSource) -> None:
        """Write a copy of `template` in which `tensors` (key -> spec) hold the bytes of `source`; all else stays.

        Raises:
            UnsupportedError: its format is not written.
            CkptkitError: as `write_new`.
        """
        row = registry.named(template.format)
        if row.writes == "no" or template.location is None:
            raise UnsupportedError(
                f"{row.name} is not written", path=template.path,
                hint="Take a template in another format, or `ckptkit convert` this one first.",
            )  # fmt: skip
        outline = row.writer().outline_like(template.location.at, tensors, self.at, self._workers(row))
        self._write(row, outline, source, sum(spec.nbytes for spec in tensors.values()))

    def _workers(self, row: Format) -> int:
        if not self.engine.elsewhere:
            return 1
        if not row.made_of.shards:
            raise UnsupportedError(
                f"{row.name} is one file, which one process writes", path=self.at,
                hint=f"Leave --engine out, or take a format that has shards: {', '.join(registry.in_shards())}",
            )  # fmt: skip
        return self.engine.workers

    def _write(self, row: Format, outline: Outline, source: DividedSource, total: int) -> None:
        names = {part.name for part in outline.parts}
        files = [file for checkpoint in self.inputs for file in files_of(checkpoint.location)]
        with (
            placed(self.at, names=names, force=self.force, inputs=files, made_of=row.made_of) as place,
            _naming(place.path, self.at.text),
        ):
            tasks = [_Task(part, source.restricted(part.keys), place) for part in outline.parts]
            counter = Counter(self.progress, total)
            written = self.engine.run(tasks, _Writing(), cost=lambda task: task.part.nbytes, progress=counter)
            outline.finish(place.path, written)
            with place.whole(names) as whole:
                _check_listed(row.reader().open(whole), whole, [key for part in outline.parts for key in part.keys])
            for checkpoint in self.inputs:
                checkpoint.confirm()


def files_of(found: Location | None) -> Iterator[Address]:
    """Whatever of a checkpoint an output may not be."""
    if found is None:
        return
    yield found.at
    yield from found.files()
    if found.format.made_of.folder:
        yield from map(found.at.join, found.at.files_below())


@dataclass(frozen=True, slots=True)
class _Task:
    """A part, the tensors that go into it, and where it goes."""

    part: Part
    source: TensorSource
    place: Destination


class _Writing(Work[_Task, Any, Any]):
    """Writing parts, each read back by who wrote it."""

    def part(self, task: _Task, bench: None, told: Told) -> Any:  # noqa: ARG002
        """See `Work.part`."""
        recorder = Recorder(Counted(task.source, told))
        with task.place.part(task.part.name, told) as path:
            written = task.part.write(path, recorder)
            with syncing(path):
                verify_written(task.part.open(path, written), path, recorder.digests)
        return written

    def merge(self, task: _Task, parts: Sequence[Any]) -> Any:  # noqa: ARG002
        """See `Work.merge`."""
        return parts[0]


@contextmanager
def _naming(path: str, output: str) -> Iterator[None]:
    """Have errors of the block, which writes to `path`, name `output`."""
    try:
        yield
    except CkptkitError as error:
        if error.path is not None and error.path.startswith(str(Path(path).parent)):
            error.path = output  # people know it by the name that it would have got
        raise


def _check_listed(opened: tuple[Contents, TensorSource], path: object, keys: Sequence[str]) -> None:
    """Raise unless what was written lists every tensor that went there without a problem."""
    contents, source = opened
    source.close()
    sound = {tensor.key for tensor in contents.tensors if not tensor.problem}
    missing = [key for key in keys if key not in sound]
    if missing or contents.damage:
        raise WriteError("what was written cannot be read back", path=path, key=missing[0] if missing else None)


class Counted:
    """Passes tensors on and tells how many bytes have gone by."""

    def __init__(self, source: TensorSource, told: Told) -> None:
        self._source = source
        self._told = told

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """Pass on, and tell."""
        for piece in self._source.stream(key, buffer):
            self._told(len(piece))
            yield piece

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Pass on."""
        self._source.read_into(key, offset, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """Pass on."""
        return self._source.read_strings(key)

    def close(self) -> None:
        """Pass on."""
        self._source.close()
