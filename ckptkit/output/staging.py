"""Output that is complete or not there: written into a hidden sibling, synced, then renamed.

A stage is a folder beside the output, so that every writer works under the output's own file name, a bundle's shards
and index included, and so that renaming stays within one file system.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError
from ckptkit.formats.registry import FILE, MadeOf
from ckptkit.output.check import check_output
from ckptkit.storage.address import address
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ckptkit.storage.address import Address

# What `link` answers where the file system has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


@contextmanager
def staged_here(output: Address, *, force: bool, inputs: Iterable[Address], made_of: MadeOf = FILE) -> Iterator[str]:
    """A path to write to in the place of `output`; what lies there when the block ends becomes it.

    Whatever ends the block early (an error, an interrupt) leaves nothing behind and what was there untouched. Of two
    writers of one path without `force` the second is refused.

    Args:
        output: on this machine; for a bundle the prefix.
        force: whether an existing output is replaced. Shards are replaced only by shards of other
            names (`MadeOf.free_count`).
        inputs: files that are read; the output may be none of them.
        made_of: what the block writes.

    Yields:
        The path to write to; its last part is that of `output`.

    Raises:
        UsageError: the output exists, is an input or cannot be; nothing has been written.
        WriteError: the platform refused at some point.
    """
    path = output.text
    check_output(output, force=force, inputs=inputs, made_of=made_of)
    named = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    final = named if made_of.shards else Path(os.path.realpath(named))  # a link stays a link
    stage = final.parent / f".{final.name[:100]}.{secrets.token_hex(8)}.tmp"
    with writing(path):
        try:
            stage.mkdir(mode=0o700)
            yield str(stage / named.name)
            _sync_all(stage)
            if made_of.folder:
                _commit_folder(stage / named.name, final, force=force)
            elif made_of.shards:
                _commit_files(stage, final, made_of, force=force)
            else:
                _commit_file(stage / named.name, final, force=force)
            _sync(final.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _commit_file(written: Path, final: Path, *, force: bool) -> None:
    """Give `written` its name at once; without `force` never over something that came meanwhile."""
    if force:
        with suppress(FileNotFoundError):
            written.chmod(stat.S_IMODE(final.stat().st_mode))
        written.replace(final)
        return
    try:
        os.link(written, final)
    except FileExistsError:
        raise _came_meanwhile(final) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            raise _came_meanwhile(final) from None
        written.rename(final)


def _commit_files(stage: Path, final: Path, made_of: MadeOf, *, force: bool) -> None:
    """Shards first, the index last: until it is in place readers see what was there before, if anything."""
    output = address(final)
    old = made_of.shards_of(output) if force else []
    last = made_of.head_of(output).base
    placed: list[Path] = []
    try:
        for written in sorted(stage.iterdir()):
            if written.name != last:
                _commit_file(written, final.with_name(written.name), force=False)
                placed.append(final.with_name(written.name))
        if placed:
            _sync(final.parent)
        _commit_file(stage / last, final.with_name(last), force=force)
        placed.clear()
    finally:
        for target in placed:
            target.unlink(missing_ok=True)
    for shard in old:
        Path(shard.text).unlink(missing_ok=True)


def _commit_folder(written: Path, final: Path, *, force: bool) -> None:
    """Move the written folder in; the old one changes places with it and goes away with the stage."""
    try:
        if not (force and final.exists()):
            written.rename(final)
        elif not _exchange(written, final):
            old = written.with_name(f"{written.name}.old")
            final.rename(old)
            try:
                written.rename(final)
            except OSError:
                old.rename(final)
                raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _came_meanwhile(final) from None
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the platform cannot (Linux's `renameat2` can)."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE (linux/fcntl.h, linux/fs.h)
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def _came_meanwhile(final: Path) -> UsageError:
    return UsageError("the output exists by now: something else wrote it meanwhile", path=final)


@contextmanager
def syncing(path: str) -> Iterator[None]:
    """Have the platform write out what lies staged at `path` while the block reads it back from memory.

    The disk and the processor have their turns at once; `staged` syncs again, which then has nothing to do.
    """
    failures: list[OSError] = []

    def sync() -> None:
        try:
            _sync_all(Path(path))
        except OSError as error:
            failures.append(error)

    beside = threading.Thread(target=sync, daemon=True)
    beside.start()
    try:
        yield
    finally:
        beside.join()
    if failures:
        raise failures[0]


def _sync_all(path: Path) -> None:
    """Sync `path`, and every file and folder under it."""
    if path.is_dir():
        for entry in path.iterdir():
            _sync_all(entry)
    _sync(path)


def _sync(path: Path) -> None:
    """Have the platform write `path` out; folders cannot be opened on Windows, and need not be."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if folder or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
