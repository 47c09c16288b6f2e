"""Where the shards of an output go: whoever writes one puts it there itself, on whatever machine, before the index is."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ckptkit.errors import WriteError
from ckptkit.formats.output import head, writing
from ckptkit.formats.staging import staged
from ckptkit.formats.stores import is_url

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind

Told = Callable[[int], object]
"""Called with bytes that have just been done; raises when the work is not wanted any more."""


class Place(Protocol):
    """Where shards go; pickles."""

    @property
    def path(self) -> str:
        """Of the output on the machine that writes its index: what `Sharding.finish` is given."""

    def shard(self, name: str, told: Told) -> AbstractContextManager[str]:
        """A path of this machine to write the shard `name` to; it is in its place when the block has ended well.

        Two that write the same shard, since one was given up for dead, do each other no harm.

        Raises:
            CkptkitError: it cannot be put there.
        """

    def whole(self, names: Collection[str]) -> AbstractContextManager[str]:
        """A path that opens, within the block, as the output with the shards `names` will when it has its own."""


@contextmanager
def placed(path: str, *, names: Collection[str], force: bool, inputs: Iterable[str], kind: Kind) -> Iterator[Place]:
    """A place for shards and index that become the output `path` when the block ends; as `staging.staged` otherwise.

    Args:
        path: the output, as the user gave it.
        names: of all shards.
        force: whether an existing output is replaced.
        inputs: paths that are read.
        kind: what the shards and the index are.

    Yields:
        The place. When the block ends all shards are there, and the index is at its `path`.

    Raises:
        UsageError: the output exists, is an input or cannot be.
        WriteError: the platform or the store refused; nothing is left behind.
    """
    if is_url(path):
        from ckptkit.formats.remote.placing import placed_in_store

        with placed_in_store(path, names=names, force=force, inputs=inputs, kind=kind) as in_store:
            yield in_store
        return
    with staged(path, force=force, inputs=inputs, kind=kind) as here:
        yield Folder(here, kind)


@dataclass(frozen=True, slots=True)
class Folder:
    """A stage that all writers see; see `Place`."""

    path: str
    kind: Kind

    @contextmanager
    def shard(self, name: str, told: Told) -> Iterator[str]:  # noqa: ARG002
        """See `Place.shard`: under a name that no other attempt has until it is complete."""
        final = Path(self.path).with_name(name)
        if not final.parent.is_dir():
            raise WriteError(
                "a worker does not see the folder that the output is staged in", path=final.parent,
                hint="All machines have to share the file system of the output",
            )  # fmt: skip
        unfinished = final.with_name(f".{secrets.token_hex(4)}.{name}")  # the ending stays: formats go by it
        try:
            with writing(str(final)):
                yield str(unfinished)
                with unfinished.open("rb+") as file:
                    os.fsync(file.fileno())
                unfinished.replace(final)
        finally:
            unfinished.unlink(missing_ok=True)

    @contextmanager
    def whole(self, names: Collection[str]) -> Iterator[str]:
        """See `Place.whole`."""
        index = Path(head(self.path, self.kind))
        for found in index.parent.iterdir():
            if found.name not in names and found != index:
                found.unlink()  # of a worker that died over it
        yield self.path
