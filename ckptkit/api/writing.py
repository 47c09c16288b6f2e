"""Writing a checkpoint so that it is complete, read back, or not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.api.opening import Counter, Progress
from ckptkit.engines import Told
from ckptkit.errors import CkptkitError
from ckptkit.formats.output import check_output
from ckptkit.formats.staging import staged, syncing
from ckptkit.formats.version import confirm_unchanged
from ckptkit.model import TensorSource

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind
    from ckptkit.formats.placing import Place
    from ckptkit.formats.sharding import Sharding


@contextmanager
def written(
    format: str,  # noqa: A002
    output: str,
    source: TensorSource,
    inputs: Sequence[str],
    total: int,
    force: bool,
    progress: Progress,
) -> Iterator[tuple[str, TensorSource]]:
    """Stage `output`; what the block writes from the given source is read back before it gets its name."""
    from ckptkit import formats
    from ckptkit.formats.readback import Recorder, verify_written
    from ckptkit.formats.writers import kind_of

    with staging(output, force=force, inputs=inputs, kind=kind_of(format)) as path:
        recorder = Recorder(Counted(source, Counter(progress, total)))
        yield path, recorder
        with syncing(path):
            verify_written(formats.open_contents, path, recorder.digests)


@contextmanager
def staging(output: str, *, force: bool, inputs: Sequence[str], kind: Kind) -> Iterator[str]:
    """A path to write to in the place of `output` (see `formats.staging`), whose errors name the output."""
    with staged(output, force=force, inputs=inputs, kind=kind) as path, _concluding(path, output, inputs):
        yield path


@contextmanager
def placing(output: str, *, force: bool, inputs: Sequence[str], sharding: Sharding) -> Iterator[Place]:
    """A place for the shards and the index of `output` (see `formats.placing`), as `staging` otherwise."""
    from ckptkit.formats.placing import placed

    names = {shard.name for shard in sharding.shards}
    with (
        placed(output, names=names, force=force, inputs=inputs, kind=sharding.kind) as place,
        _concluding(place.path, output, inputs),
    ):
        yield place


@contextmanager
def _concluding(path: str, output: str, inputs: Sequence[str]) -> Iterator[None]:
    """Have errors of the block, which writes to `path`, name `output`; what was read must still be what it was."""
    try:
        yield
        confirm_unchanged(inputs)
    except CkptkitError as error:
        if error.path is not None and error.path.startswith(str(Path(path).parent)):
            error.path = output  # people know it by the name that it would have got
        raise


def staged_output(path: str, *, force: bool, inputs: Sequence[str]) -> AbstractContextManager[str]:
    """A place to write a text output to, which becomes `path` when the block ends well; see `formats.staging`."""
    return staged(path, force=force, inputs=inputs)


def check_text_output(path: str) -> None:
    """Raise unless a text could be written to `path`, in the place of a file if there is one; see `formats.output`."""
    check_output(path, force=True, inputs=(), kind="file")


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
