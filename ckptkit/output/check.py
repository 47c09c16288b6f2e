"""Where output may go on this machine, judged before anything is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError, WriteError
from ckptkit.storage.writing import reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ckptkit.formats.registry import MadeOf
    from ckptkit.storage.address import Address


def check_output(path: Address, *, force: bool, inputs: Iterable[Address], made_of: MadeOf) -> None:
    """Refuse an output on this machine that may not be written.

    Args:
        path: where to.
        force: whether an existing output is replaced.
        inputs: files that are read.
        made_of: what is to be written.

    Raises:
        UsageError: it exists, is an input, is no file, or there is no folder for it.
        WriteError: the folder is not writable.
    """
    _check_folder(path.text)
    existing = [made_of.head_of(path), *made_of.shards_of(path)]
    for member in existing:
        _check_member(member.text, force=force, made_of=made_of)
    if made_of.folder:
        _check_outside(path, inputs := list(inputs))
    outputs = {identity for member in existing for identity in _identities(member.text)}
    if outputs:
        for file in inputs:
            if outputs.intersection(_identities(file.text)):
                raise UsageError("the output is also an input", path=path, found=file, hint="Write to another name")


def _check_outside(path: Address, inputs: Iterable[Address]) -> None:
    """Raise when an input lies in the folder that would be replaced."""
    if not Path(path.text).is_dir():
        return
    inside = next((file for file in inputs if not file.store.distant and file.lies_in(path)), None)
    if inside is not None:
        raise UsageError("the output holds an input", path=path, found=inside, hint="Write to another name")


def _check_folder(path: str) -> None:
    name = Path(path).name
    folder = Path(path).parent
    try:
        if not name or name in (".", "..") or "\0" in path:
            raise UsageError("not the name of a file", path=path)
        if not folder.exists():
            raise UsageError(
                "there is no such folder to write to", path=path, found=str(folder), hint="Create it first"
            )
        if not folder.is_dir():
            raise UsageError("cannot be written: its parent is not a folder", path=path, found=str(folder))
    except OSError as error:  # a name too long, a folder that may not be searched
        raise WriteError(f"cannot be written ({reason(error)})", path=path) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError("cannot be written: the folder does not permit it", path=path, found=str(folder))


def _check_member(path: str, *, force: bool, made_of: MadeOf) -> None:
    """Raise when something is at `path` that may not be replaced."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if Path(path).is_symlink() and not force:
            raise UsageError("the output is a link already", path=path, hint="--force replaces it") from None
        return
    except OSError as error:  # a name too long, links in a circle
        raise WriteError(f"cannot be written ({reason(error)})", path=path) from error
    if not made_of.folder and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a FIFO or a device"
        raise UsageError(f"the output is {what}", path=path, expected="the name of a file")
    if made_of.folder and not stat.S_ISDIR(mode):
        raise UsageError("the output exists and is no folder", path=path, expected="the name of a folder")
    if not force:
        raise UsageError("the output exists already", path=path, hint="--force replaces it")
    if made_of.folder and not _is_one(Path(path), made_of):
        raise UsageError("the output is a folder of something else, which is not replaced", path=path)


def _is_one(folder: Path, made_of: MadeOf) -> bool:
    """Whether a folder is empty, or what may be replaced by what is to be written."""
    inside = list(folder.iterdir())
    alone = inside[0] if made_of.steps and len(inside) == 1 else folder
    return not inside or (folder / made_of.head).is_file() or (alone / made_of.head).is_file()


def _identities(path: str) -> list[tuple[int, int]]:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return []
    return [(found.st_dev, found.st_ino)]
