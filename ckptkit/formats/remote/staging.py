"""Output to a store: written and read back on this machine, then uploaded, with what makes it complete last.

Stores have no rename and no folders, so several objects never change at once. What is promised is less than for local
files, and told in docs/remote.md.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError
from ckptkit.formats.locate import locate
from ckptkit.formats.names import base_name, beside, files_below, join
from ckptkit.formats.output import SAVED_MODEL, head, shards
from ckptkit.formats.remote.access import open_access
from ckptkit.formats.remote.client import run
from ckptkit.formats.remote.upload import put, refuse_unwritable, remove
from ckptkit.formats.stores import is_url
from ckptkit.formats.version import files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ckptkit.formats.output import Kind


@contextmanager
def staged_for_upload(path: str, *, force: bool, kind: Kind) -> Iterator[str]:
    """As `formats.staging.staged`, for a URL: a local path, and what lies there at the end of the block is uploaded.

    Raises:
        UsageError: the output exists by then.
        WriteError: the store refused; what was uploaded has been removed again.
    """
    with tempfile.TemporaryDirectory(prefix="ckptkit-") as folder:
        staged = str(Path(folder) / base_name(path))
        yield staged
        _upload(staged, path, kind, force=force)


def check_output(path: str, *, force: bool, inputs: Iterable[str], kind: Kind) -> None:
    """As `formats.output.check_output`, for a URL."""
    if base_name(path) in ("", ".", ".."):
        raise UsageError("not the name of a file", path=path)
    refuse_unwritable(path)
    last = head(path, kind)
    found = run(open_access(last).look()).kind
    existing = [*([last] if found else []), *shards(path, kind)]
    if kind != "folder" and found == "folder":
        raise UsageError("the output is a folder", path=path, expected="the name of a file")
    if existing and not force:
        raise UsageError("the output exists already", path=existing[0], hint="--force replaces it")
    if kind == "folder" and existing:
        raise UsageError(
            "a folder in a store cannot be replaced so that the old or the new is whole at any moment", path=path,
            hint="Write to another name, or remove the old one first",
        )  # fmt: skip
    if existing:
        for source in inputs:
            if is_url(source) and set(existing) & set(files_of(locate(source))):
                raise UsageError("the output is also an input", path=path, found=source, hint="Write to another name")


def _upload(staged: str, path: str, kind: Kind, *, force: bool) -> None:
    """All but the last object, then that one; on failure those that were uploaded are removed."""
    old = shards(path, kind) if force else []
    if kind == "folder":
        names = sorted(files_below(staged), key=lambda name: (name == SAVED_MODEL, name))
        parts = [(str(Path(staged, name)), join(path, name)) for name in names]
    else:
        last = Path(head(staged, kind)).name
        others = sorted(entry.name for entry in Path(staged).parent.iterdir() if entry.name != last)
        parts = [(str(Path(staged).with_name(name)), beside(path, name)) for name in (*others, last)]
    placed: list[str] = []
    try:
        for number, (local, url) in enumerate(parts, 1):
            put(local, url, new=not (force and number == len(parts)))
            placed.append(url)
        placed.clear()
    finally:
        remove(placed)
    remove(url for url in old if url not in {url for _, url in parts})
