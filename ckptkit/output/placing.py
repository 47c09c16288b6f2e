"""Where the parts of an output go: whoever writes one puts it there itself, on whatever machine, before the index is."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ckptkit.errors import UsageError, WriteError
from ckptkit.formats.registry import FILE
from ckptkit.output.staging import staged_here
from ckptkit.storage.address import Address, address
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from ckptkit.formats.registry import MadeOf

Told = Callable[[int], object]
"""Called with bytes that have just been done; raises when the work is not wanted any more."""


class Destination(Protocol):
    """Where parts go; pickles."""

    @property
    def path(self) -> str:
        """Of the output on the machine that writes its index: what `Outline.finish` is given."""

    def part(self, name: str, told: Told) -> AbstractContextManager[str]:
        """A path of this machine to write the part `name` to; it is in its place when the block has ended well.

        Two that write the same part, since one was given up for dead, do each other no harm.

        Raises:
            CkptkitError: it cannot be put there.
        """

    def whole(self, names: Collection[str]) -> AbstractContextManager[Address]:
        """An address that opens, within the block, as the output with the parts `names` will when it has its own."""


@contextmanager
def placed(
    output: Address, *, names: Collection[str], force: bool, inputs: Iterable[Address], made_of: MadeOf
) -> Iterator[Destination]:
    """A place for parts and index that become `output` when the block ends; complete, or not there.

    Args:
        output: where to.
        names: of all parts.
        force: whether an existing output is replaced.
        inputs: files that are read.
        made_of: what the parts and the index are.

    Yields:
        The place. When the block ends all parts are there, and the index is at its `path`.

    Raises:
        UsageError: the output exists, is an input or cannot be.
        WriteError: the platform or the store refused; nothing is left behind.
    """
    taken = [shard for shard in made_of.shards_of(output) if shard.base in names]
    if taken and force:
        raise UsageError(
            "what is in shards cannot be replaced by shards of the same names so that the old or the new is whole at any "
            "moment", path=taken[0], hint="Write to another name, or remove the old ones first",
        )  # fmt: skip
    if output.store.distant:
        from ckptkit.output.in_store import placed_in_store

        with placed_in_store(output, names=names, force=force, inputs=inputs, made_of=made_of) as in_store:
            yield in_store
        return
    with staged_here(output, force=force, inputs=inputs, made_of=made_of) as here:
        yield InFolder(here, made_of)


@contextmanager
def staged(output: Address, *, force: bool, inputs: Iterable[Address]) -> Iterator[str]:
    """A path to write one file to, which becomes `output` when the block ends well; otherwise as `placed`."""
    with placed(output, names=(), force=force, inputs=inputs, made_of=FILE) as place:
        yield place.path


@dataclass(frozen=True, slots=True)
class InFolder:
    """A stage that all writers see; see `Destination`."""

    path: str
    made_of: MadeOf

    @contextmanager
    def part(self, name: str, told: Told) -> Iterator[str]:  # noqa: ARG002
        """See `Destination.part`: under a name that no other attempt has until it is complete."""
        if not self.made_of.shards:
            yield self.path  # the only part, which one process writes
            return
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
    def whole(self, names: Collection[str]) -> Iterator[Address]:
        """See `Destination.whole`."""
        output = address(self.path)
        if self.made_of.shards:
            index = Path(self.made_of.head_of(output).text)
            for found in index.parent.iterdir():
                if found.name not in names and found != index:
                    found.unlink()  # of a worker that died over it
        yield output
