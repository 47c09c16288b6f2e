"""Shards of an output in a store: each staged on the machine that writes it and uploaded from there, the index last."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, UsageError, WriteError
from ckptkit.formats.locate import locate
from ckptkit.formats.names import base_name, beside
from ckptkit.formats.output import head, shards
from ckptkit.formats.remote.access import standing_in
from ckptkit.formats.remote.staging import check_output
from ckptkit.formats.remote.upload import came_meanwhile, put, put_shared, remove
from ckptkit.formats.version import files_of

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind


@dataclass(frozen=True, slots=True)
class InStore:
    """Objects beside the URL of an output, whose index is written to `path` first; see `formats.placing.Place`."""

    path: str
    url: str
    kind: Kind

    @contextmanager
    def shard(self, name: str, told: Callable[[int], object]) -> Iterator[str]:
        """See `Place.shard`."""
        url = beside(self.url, name)
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
    def whole(self, names: Collection[str]) -> Iterator[str]:  # noqa: ARG002
        """See `Place.whole`: the index that is here, with the objects that are there."""
        with standing_in(head(self.path, self.kind), head(self.url, self.kind)):
            yield self.url


@contextmanager
def placed_in_store(
    url: str, *, names: Collection[str], force: bool, inputs: Iterable[str], kind: Kind
) -> Iterator[InStore]:
    """As `formats.placing.placed`, for a URL."""
    check_output(url, force=force, inputs=inputs, kind=kind)
    taken = [shard for shard in shards(url, kind) if base_name(shard) in names]
    if taken:
        raise UsageError(
            "objects in a store cannot be replaced by others of the same names so that the old or the new is whole",
            path=taken[0], hint="Write to another name, or remove the old ones first",
        )  # fmt: skip
    complete = False
    try:
        with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
            place = InStore(str(Path(folder) / base_name(url)), url, kind)
            yield place
            others = [shard for shard in shards(url, kind) if base_name(shard) not in names]
            if others and not force:
                raise came_meanwhile(others[0])
            put(head(place.path, kind), head(url, kind), new=not force)
        complete = True
    finally:
        if not complete:
            with suppress(CkptkitError):  # the failure that led here is the one to be told
                _take_back(url, names)
    remove(others)


def _take_back(url: str, names: Collection[str]) -> None:
    """Remove the shards `names`, but for those that an index needs which came meanwhile."""
    needed: tuple[str, ...] = ()
    with suppress(CkptkitError):
        needed = files_of(locate(url))
    remove(shard for shard in (beside(url, name) for name in names) if shard not in needed)
