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
from ckptkit.formats.output import Kind, check_output, head, shards, writing
from ckptkit.formats.stores import is_url, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What `link` answers where the file system has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


@contextmanager
def staged(path: str, *, force: bool, inputs: Iterable[str], kind: Kind = "file") -> Iterator[str]:
    """A path to write to in the place of `path`; what lies there when the block ends becomes `path`.

    Whatever ends the block early (an error, an interrupt) leaves nothing behind and what was there untouched. Of two
    writers of one path without `force` the second is refused.

    Args:
        path: the output, as the user gave it; for a bundle the prefix.
        force: whether an existing output is replaced. Shards are replaced only by shards of other
            names (`output.free_shard_count`).
        inputs: paths that are read; the output may be none of them.
        kind: what the block writes.

    Yields:
        The path to write to; its last part is that of `path`.

    Raises:
        UsageError: the output exists, is an input or cannot be; nothing has been written.
        WriteError: the platform refused at some point.
    """
    path = plain(path)
    check_output(path, force=force, inputs=inputs, kind=kind)
    if is_url(path):
        from ckptkit.formats.remote.staging import staged_for_upload

        with staged_for_upload(path, force=force, kind=kind) as staged_here:
            yield staged_here
        return
    named = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    final = Path(os.path.realpath(named)) if kind in ("file", "folder") else named  # a link stays a link
    stage = final.parent / f".{final.name[:100]}.{secrets.token_hex(8)}.tmp"
    with writing(path):
        try:
            stage.mkdir(mode=0o700)
            yield str(stage / named.name)
            sync_tree(stage)
            if kind == "folder":
                _commit_folder(stage / named.name, final, force=force)
            elif kind == "file":
                _commit_file(stage / named.name, final, force=force)
            else:
                _commit_files(stage, final, kind, force=force)
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


def _commit_files(stage: Path, final: Path, kind: Kind, *, force: bool) -> None:
    """Shards first, the index last: until it is in place readers see what was there before, if anything."""
    old = shards(str(final), kind) if force else []
    last = Path(head(final.name, kind)).name
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
        Path(shard).unlink(missing_ok=True)


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
            sync_tree(Path(path).parent)
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


def sync_tree(folder: Path) -> None:
    """Sync every file and folder under `folder`, and itself."""
    for entry in folder.iterdir():
        if entry.is_dir():
            sync_tree(entry)
        else:
            _sync(entry)
    _sync(folder)


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
