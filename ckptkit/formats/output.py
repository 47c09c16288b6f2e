"""Where output may go, judged before anything is written, and the platform's refusals in our words."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ckptkit.errors import CkptkitError, UsageError, WriteError
from ckptkit.formats.names import add, base_name, beside, folder_of, list_folder
from ckptkit.formats.stores import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["file", "folder", "bundle", "sharded", "safetensors-sharded"]
"""One file; a folder with all that is in it; a prefix with `.index` and `.data-NNNNN-of-NNNNN`; `X.weights.json` with
`X_NNNNN.weights.h5`; `X.safetensors.index.json` with `X-NNNNN-of-NNNNN.safetensors`."""

SAVED_MODEL = "saved_model.pb"

_INDEX = ".index"
_BUNDLE_SHARD = re.compile(r"\.data-([0-9]{5})-of-([0-9]{5})")
_KERAS_INDEX = ".weights.json"
_KERAS_SHARD = re.compile(r"_([0-9]{5})\.weights\.h5")

# Kind -> what the index's name ends in and the shards' names have not, and what these have instead.
_SHARDS: dict[Kind, tuple[str, re.Pattern[str]]] = {
    "bundle": ("", _BUNDLE_SHARD),
    "sharded": (_KERAS_INDEX, _KERAS_SHARD),
    "safetensors-sharded": (".safetensors.index.json", re.compile(r"-([0-9]{5})-of-([0-9]{5})\.safetensors")),
}
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
    return add(path, _INDEX) if kind == "bundle" else path


def shards(path: str, kind: Kind) -> list[str]:
    """The existing data files of a bundle or of sharded weights, whatever their number, sorted."""
    if kind not in _SHARDS:
        return []
    ending, pattern = _SHARDS[kind]
    begin = base_name(path).removesuffix(ending)
    try:
        names = list_folder(folder_of(path))
    except CkptkitError:
        return []
    return [beside(path, name) for name in names if name.startswith(begin) and pattern.fullmatch(name, len(begin))]


def free_shard_count(path: str, kind: Kind = "bundle", *, at_least: int = 1) -> int:
    """The least number of shards, from `at_least` on, under which no shard of `path` exists yet.

    What names its shards by their number is replaced by another number of them, so that until its index is replaced too
    the old one is whole.
    """
    pattern = _SHARDS[kind][1]
    taken = {int(match[2]) for match in map(pattern.search, shards(path, kind)) if match}
    return next(count for count in range(at_least, at_least + len(taken) + 1) if count not in taken)


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
    if is_url(path):
        from ckptkit.formats.remote.staging import check_output as check_url

        check_url(path, force=force, inputs=inputs, kind=kind)
        return
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
    yield from shards(source, "safetensors-sharded")
    seen = 0
    for folder, _, names in os.walk(source):
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                return
            yield os.path.join(folder, name)  # noqa: PTH118
