"""Outputs in a store: each part staged on the machine that writes it and uploaded from there, what makes it complete last.

Stores have no rename and no folders, so several objects never change at once. What is promised is less than for local
files, and told in docs/remote.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, UsageError, WriteError
from ckptkit.formats.locate import locate
from ckptkit.storage.address import Address, address
from ckptkit.storage.remote.client import run
from ckptkit.storage.remote.opening import open_access
from ckptkit.storage.remote.store import RemoteStore
from ckptkit.storage.remote.upload import came_meanwhile, put, put_shared, refuse_unwritable, remove

if TYPE_CHECKING:
    from ckptkit.formats.registry import MadeOf


@dataclass(frozen=True, slots=True)
class InStore:
    """The URL of an output, and the place on this machine where what makes it complete is written first; see `Destination`."""

    path: str
    output: Address
    made_of: MadeOf

    @contextmanager
    def part(self, name: str, told: Callable[[int], object]) -> Iterator[str]:
        """See `Destination.part`."""
        if not self.made_of.shards:
            yield self.path  # the only part: what makes the output complete
            return
        url = self.output.beside(name).text
        try:
            with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
                path = str(Path(folder) / name)
                try:
                    yield path
                except CkptkitError as error:
                    if error.path == path:
                        error.path = url  # people know it by the name that it would have got
                    raise
                put_shared(path, url, told)
        except OSError as error:
            raise WriteError(
                f"cannot be staged on the machine that writes it ({(error.strerror or 'unknown error').lower()})",
                path=url, hint="TMPDIR names the folder that is used",
            ) from error  # fmt: skip

    @contextmanager
    def whole(self, names: Collection[str]) -> Iterator[Address]:  # noqa: ARG002
        """See `Destination.whole`: the index that is here, with the objects that are there."""
        here = address(self.path)
        if not self.made_of.shards:
            yield here
            return
        stand_ins = {self.made_of.head_of(self.output).text: self.made_of.head_of(here).text}
        yield Address(self.output.text, RemoteStore(stand_ins))


@contextmanager
def placed_in_store(
    output: Address, *, names: Collection[str], force: bool, inputs: Iterable[Address], made_of: MadeOf
) -> Iterator[InStore]:
    """As `placing.placed`, for an output in a store."""
    check_in_store(output, force=force, inputs=inputs, made_of=made_of)
    complete = False
    others: list[Address] = []
    try:
        with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
            place = InStore(str(Path(folder) / output.base), output, made_of)
            yield place
            others = [shard for shard in made_of.shards_of(output) if shard.base not in names]
            if others and not force:
                raise came_meanwhile(others[0].text)
            _put_last(address(place.path), output, made_of, force=force)
        complete = True
    finally:
        if not complete:
            with suppress(CkptkitError):  # the failure that led here is the one to be told
                _take_back(output, names if made_of.shards else ())
    remove(shard.text for shard in others)


def check_in_store(output: Address, *, force: bool, inputs: Iterable[Address], made_of: MadeOf) -> None:
    """As `check.check_output`, for a URL."""
    if output.base in ("", ".", ".."):
        raise UsageError("not the name of a file", path=output)
    refuse_unwritable(output.text)
    last = made_of.head_of(output)
    found = run(open_access(last.text).look()).kind
    existing = [*([last] if found else []), *made_of.shards_of(output)]
    if not made_of.folder and found == "folder":
        raise UsageError("the output is a folder", path=output, expected="the name of a file")
    if existing and not force:
        raise UsageError("the output exists already", path=existing[0], hint="--force replaces it")
    if made_of.folder and existing:
        raise UsageError(
            "a folder in a store cannot be replaced so that the old or the new is whole at any moment", path=output,
            hint="Write to another name, or remove the old one first",
        )  # fmt: skip
    source = next((file for file in inputs if file in existing), None)
    if source is not None:
        raise UsageError("the output is also an input", path=output, found=source, hint="Write to another name")


def _put_last(written: Address, output: Address, made_of: MadeOf, *, force: bool) -> None:
    """Upload what makes the output complete: one file, or those of a folder, of which one comes last."""
    if not made_of.folder:
        put(made_of.head_of(written).text, made_of.head_of(output).text, new=not force)
        return
    placed: list[str] = []
    try:
        for name in sorted(written.files_below(), key=lambda name: (name.rpartition("/")[2] == made_of.head, name)):
            put(written.join(name).text, output.join(name).text, new=True)
            placed.append(output.join(name).text)
        placed.clear()
    finally:
        remove(placed)


def _take_back(output: Address, names: Collection[str]) -> None:
    """Remove the shards `names`, but for those that an index needs which came meanwhile."""
    needed: tuple[Address, ...] = ()
    with suppress(CkptkitError):
        needed = locate(output.text).files() if names else ()
    remove(shard.text for shard in map(output.beside, names) if shard not in needed)
