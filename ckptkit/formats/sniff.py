"""What a file is, by its content and the marks of the registry; what is known and not read is named, and the way out said."""

from __future__ import annotations

from contextlib import closing
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from ckptkit.errors import FormatError, UnsupportedError
from ckptkit.formats import registry
from ckptkit.formats.registry import Check, Format, Magic, Members
from ckptkit.storage.bytes import Storage, read

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

_HEAD_BYTES = 512

_TO_SAFETENSORS = (
    "Save its tensors as safetensors or npz in the framework that wrote it; ckptkit never runs code from files."
)
_TO_NPZ = (
    "Where it was written, this makes an archive of Haiku's parameters that opens here: python -c \"import pickle,"
    " numpy as np; p = pickle.load(open('params.pkl', 'rb'));"
    " np.savez('params.npz', **{f'{m}/{n}': np.asarray(v) for m, d in p.items() for n, v in d.items()})\";"
    " other trees need a key for each array, and PyTorch's are best saved as safetensors; ckptkit never runs code from files."
)
_UNPACK = "Unpack it first."

# offset, bytes, what the file is, what to do
_FOREIGN = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the file itself", "Run `git lfs pull`."),
    (0, b"\x80\x02", "a Python pickle, and not one of PyTorch", _TO_SAFETENSORS),
    (0, b"\x80\x03", "a Python pickle", _TO_NPZ),
    (0, b"\x80\x04", "a Python pickle", _TO_NPZ),
    (0, b"\x80\x05", "a Python pickle", _TO_NPZ),
    (0, b"\x93NUMPY", "a single NumPy array (.npy)", "Save it with a name in an npz: np.savez(path, name=array)."),
    (4, b"TFL3", "a TensorFlow Lite model", "Its weights are in another layout; open what it was converted from."),
    (0, b"GGUF", "a GGUF file", "Open the checkpoint it was converted from."),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a rar archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"<!DOCTYPE", "a web page", "The download gave a page instead of the file."),
    (0, b"<!doctype", "a web page", "The download gave a page instead of the file."),
    (0, b"<html", "a web page", "The download gave a page instead of the file."),
)  # fmt: skip


_STATE = (b"model_checkpoint_path:", b"all_model_checkpoint_paths:")


def sniff_at(at: Address) -> Format | Literal["json", "state"] | None:
    """As `sniff`, for the file at an address."""
    with closing(at.open()) as storage:
        return sniff(storage)


def sniff(storage: Storage) -> Format | Literal["json", "state"] | None:
    """The format of a file that a mark in it tells, or what else it is that leads to a checkpoint; None for neither.

    Raises:
        FormatError: it is empty.
        UnsupportedError: it is of a kind that is known and not read.
    """
    if storage.size == 0:
        raise FormatError("the file is empty", path=storage.name)
    head = bytes(read(storage, 0, min(storage.size, _HEAD_BYTES)))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_archive(storage)
    for row in registry.FORMATS:
        if any(_bears(mark, storage, head) for mark in row.marks):
            return row
    # After what is known by its first bytes here: in safetensors these are a length, which can be any number.
    for offset, signature, found, hint in _FOREIGN:
        if head.startswith(signature, offset):
            raise UnsupportedError("not a checkpoint that is read here", path=storage.name, found=found, hint=hint)
    if head.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return "json"
    if head[8:9] == b"{":  # one that is cut short
        return registry.named("safetensors")
    return "state" if head.startswith(_STATE) else None


def is_table(storage: Storage) -> bool:
    """Whether a file ends as LevelDB tables do: indexes of bundles, and V1 checkpoints."""
    return storage.size > 0 and _bears(registry.TABLE, storage, b"")


def _bears(mark: registry.Mark, storage: Storage, head: bytes) -> bool:
    if isinstance(mark, Check):
        module, _, function = mark.function.partition(":")
        return bool(getattr(import_module(module), function)(storage))
    if not isinstance(mark, Magic):
        return False
    length = len(mark.signature)
    if mark.blocks:
        return _has_signature(storage, mark.signature)
    if mark.offset >= 0:
        return head.startswith(mark.signature, mark.offset)
    at = storage.size + mark.offset
    return at >= 0 and read(storage, at, length) == mark.signature


def _has_signature(storage: Storage, signature: bytes) -> bool:
    """Whether it is at 0, 512, 1024, 2048 …, where a user block may put it (HDF5 format, II.A)."""
    offset = 0
    storage.expect([0, *(512 << doubling for doubling in range(storage.size.bit_length()))])
    while offset + len(signature) <= storage.size:
        if read(storage, offset, len(signature)) == signature:
            return True
        offset = offset * 2 or 512
    return False


def _of_archive(storage: Storage) -> Format:
    from ckptkit.formats.zip.members import members

    names = list(members(storage, paths=False))
    for row in registry.FORMATS:
        for mark in row.marks:
            if isinstance(mark, Members) and (
                (mark.empty and not names) or any(fnmatchcase(name, wanted) for name in names for wanted in mark.names)
            ):
                return row
    if any(name.rpartition("/")[2] in ("saved_model.pb", "checkpoint") or name.endswith(".index") for name in names):
        found, hint = "a zip archive of a TensorFlow checkpoint", _UNPACK
    else:
        found, hint = "a zip archive of something else", _UNPACK
    raise UnsupportedError("not a checkpoint that is read here", path=storage.name, found=found, hint=hint)
