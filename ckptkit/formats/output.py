"""Where output may go, judged before anything is written, and the platform's refusals in our words."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ckptkit.errors import UsageError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["file", "folder", "bundle", "sharded"]
"""One file; a folder with all that is in it; a prefix with `.index` and `.data-NNNNN-of-NNNNN`; `X.weights.json` with
`X_NNNNN.weights.h5`."""

SAVED_MODEL = "saved_model.pb"

_INDEX = ".index"
_BUNDLE_SHARD = re.compile(r"\.data-([0-9]{5})-of-([0-9]{5})")
_KERAS_INDEX = ".weights.json"
_KERAS_SHARD = re.compile(r"_([0-9]{5})\.weights\.h5")
_MOST_FILES = 10_000  # looked at in an input folder, to find out whether the output is one of them


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes `path`, into a `WriteError`."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot be written ({_reason(error)})", path=path) from error


def _reason(error: OSError) -> str:
    """The system's words; HDF5 puts their number into the text of its error rather than into `errno`."""
    number = error.errno or next(iter(map(int, re.findall(r"errno = ([0-9]+)", str(error)))), 0)
    return os.strerror(number).lower() if number else "the writing library gives no reason"


def head(path: str, kind: Kind) -> str:
    """The file that makes an output of `kind` complete, and that comes last."""
    return path + _INDEX if kind == "bundle" else path


def shards(path: str, kind: Kind) -> list[str]:
    """The existing data files of a bundle or of sharded Keras weights, whatever their number, sorted."""
    if kind not in ("bundle", "sharded"):
        return []
    folder = Path(path).parent
    begin = Path(path).name.removesuffix(_KERAS_INDEX if kind == "sharded" else "")
    pattern = _KERAS_SHARD if kind == "sharded" else _BUNDLE_SHARD
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    return sorted(
        str(folder / name) for name in names if name.startswith(begin) and pattern.fullmatch(name, len(begin))
    )


def free_shard_count(prefix: str) -> int:
    """The least number of shards under which no shard of bundle `prefix` exists yet.

    A bundle is replaced by shards of another count, so that until its index is replaced too the old one is whole.
    """
    taken = {int(match[2]) for match in map(_BUNDLE_SHARD.search, shards(prefix, "bundle")) if match}
    return next(count for count in range(1, len(taken) + 2) if count not in taken)


def free_shard_number(path: str) -> int:
    """The number from which on no shard of the sharded Keras weights `path` exists yet."""
    taken = [int(match[1]) for match in map(_KERAS_SHARD.search, shards(path, "sharded")) if match]
    return max(taken, default=-1) + 1


def check_output(path: str, *, force: bool, inputs: Iterable[str], kind: Kind) -> None:
    """Refuse an output that may not be written.

    Args:
        path: as the user gave it.
        force: whether an existing output is replaced.
        inputs: paths that are read, as the user gave them: files, prefixes, members or folders.
        kind: what is to be written.

    Raises:
        UsageError: it exists, is an input, is no file, or there is no folder for it.
        WriteError: the folder is not writable.
    """
    _check_folder(path)
    existing = [head(path, kind), *shards(path, kind)]
    for member in existing:
        _check_member(member, force=force, folder=kind == "folder")
    outputs = {identity for member in existing for identity in _identities(member)}
    for source in inputs:
        if outputs & {identity for file in _files_of(source) for identity in _identities(file)}:
            raise UsageError("the output is also an input", path=path, found=source, hint="Write to another name")


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
        raise WriteError(f"cannot be written ({_reason(error)})", path=path) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError("cannot be written: the folder does not permit it", path=path, found=str(folder))


def _check_member(path: str, *, force: bool, folder: bool) -> None:
    """Raise when something is at `path` that may not be replaced."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if Path(path).is_symlink() and not force:
            raise UsageError("the output is a link already", path=path, hint="--force replaces it") from None
        return
    except OSError as error:  # a name too long, links in a circle
        raise WriteError(f"cannot be written ({_reason(error)})", path=path) from error
    if not folder and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a FIFO or a device"
        raise UsageError(f"the output is {what}", path=path, expected="the name of a file")
    if folder and not stat.S_ISDIR(mode):
        raise UsageError("the output exists and is no folder", path=path, expected="the name of a folder")
    if not force:
        raise UsageError("the output exists already", path=path, hint="--force replaces it")
    if folder and not (Path(path) / SAVED_MODEL).is_file() and any(Path(path).iterdir()):
        raise UsageError("the output is a folder of something else, which is not replaced", path=path)


def _identities(path: str) -> list[tuple[int, int]]:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return []
    return [(found.st_dev, found.st_ino)]


def _files_of(source: str) -> Iterator[str]:
    """All files that reading `source` can mean."""
    yield source
    prefix = _BUNDLE_SHARD.sub("", source.removesuffix(_INDEX).removesuffix(".meta"))
    yield head(prefix, "bundle")
    yield from shards(prefix, "bundle")
    yield from shards(source, "sharded")
    seen = 0
    for folder, _, names in os.walk(source):
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                return
            yield os.path.join(folder, name)  # noqa: PTH118
