"""Writing a checkpoint so that it is complete, read back, or not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from ckptkit.api.opening import Progress
from ckptkit.errors import CkptkitError
from ckptkit.formats.staging import staged, syncing
from ckptkit.model import TensorSource


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

    with staged(output, force=force, inputs=inputs, kind=kind_of(format)) as path:
        recorder = Recorder(_Counted(source, progress, total))
        try:
            yield path, recorder
            with syncing(path):
                verify_written(formats.open_contents, path, recorder.digests)
        except CkptkitError as error:
            if error.path is not None and error.path.startswith(path):
                error.path = output  # people know it by the name that it would have got
            raise


def staged_output(path: str, *, force: bool, inputs: Sequence[str]) -> AbstractContextManager[str]:
    """A place to write a text output to, which becomes `path` when the block ends well; see `formats.staging`."""
    return staged(path, force=force, inputs=inputs)


class _Counted:
    """Passes tensors on and reports how many bytes have gone by."""

    def __init__(self, source: TensorSource, progress: Progress, total: int) -> None:
        self._source = source
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        for piece in self._source.stream(key, buffer):
            with self._lock:  # writers may stream several tensors at once
                self._done += len(piece)
                self._progress(self._done, self._total)
            yield piece

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        self._source.read_into(key, offset, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        return self._source.read_strings(key)

    def close(self) -> None:
        self._source.close()
