"""What an output is made of: parts that are written independently of each other, and what is written when all are there.

A single file is one part. A part is small enough to go to another process, and says how what it wrote is opened alone,
so that whoever wrote it reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ckptkit.storage.address import address

if TYPE_CHECKING:
    from ckptkit.model import Contents, TensorSource
    from ckptkit.storage.address import Address

Item = TypeVar("Item")
Opened = tuple["Contents", "TensorSource"]

# Most bytes of a part: what is lost with a dying worker, and one worker's longest go. Keras's own default is 5 GiB.
MOST_BYTES = 4 << 30

# Fewer bytes are not worth a worker of their own.
_LEAST_BYTES = 16 << 20


class Part(Protocol):
    """One file of an output, or its one folder; pickles."""

    @property
    def name(self) -> str:
        """Of the file, in the output's folder."""

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the tensors that are asked of the source."""

    @property
    def nbytes(self) -> int:
        """About its size."""

    def write(self, path: str, source: TensorSource) -> Any:
        """Write it to `path`; what comes of it goes to `open` and to `Outline.finish`, pickled.

        Raises:
            CkptkitError: a tensor cannot be read, or the file cannot be written.
        """

    def open(self, path: str, written: Any) -> Opened:
        """Open what was written to `path`, as far as it can be without the other parts."""


def _nothing(path: str, written: Sequence[Any]) -> None:
    """For an output that is complete when its parts are."""


@dataclass(frozen=True, slots=True)
class Outline:
    """All parts of an output, in order.

    Attributes:
        parts: the files, or the one file or folder.
        finish: writes what makes the output complete to a path beside the parts that are there, given what `Part.write`
            gave for each.
    """

    parts: Sequence[Part]
    finish: Callable[[str, Sequence[Any]], None] = _nothing


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part that is a checkpoint by itself; see `Part`."""

    name: str
    keys: Sequence[str]
    nbytes: int
    make: partial[None]
    """Called with `path` and `source`: writes the file."""
    reader: Callable[[Address], Opened]

    def write(self, path: str, source: TensorSource) -> None:
        """See `Part.write`."""
        self.make(path=path, source=source)

    def open(self, path: str, written: None) -> Opened:  # noqa: ARG002
        """See `Part.open`."""
        return self.reader(address(path))


def shard_count(total: int, workers: int) -> int:
    """How many parts `total` bytes take: one for each worker where there is enough, and none too large."""
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
