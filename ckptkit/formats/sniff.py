"""What a file is, by its content; what is known and not read is named, and the way out said."""

from __future__ import annotations

from typing import Literal

from ckptkit.errors import FormatError, UnsupportedError
from ckptkit.formats.storage import Storage, read

FileKind = Literal["hdf5", "npz", "keras", "table", "safetensors", "json", "state", "unknown"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

# The last eight bytes of a LevelDB table (see tensor_bundle/table.py, which is not imported for a look at a file).
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")

_HEAD_BYTES = 512

_TO_SAFETENSORS = (
    "Save its tensors as safetensors or npz in the framework that wrote it; ckptkit never runs code from files."
)
_UNPACK = "Unpack it first."

# offset, bytes, what the file is, what to do
_FOREIGN = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the file itself", "Run `git lfs pull`."),
    (0, b"\x80\x02", "a Python pickle (an old PyTorch or Python file)", _TO_SAFETENSORS),
    (0, b"\x80\x03", "a Python pickle", _TO_SAFETENSORS),
    (0, b"\x80\x04", "a Python pickle", _TO_SAFETENSORS),
    (0, b"\x80\x05", "a Python pickle", _TO_SAFETENSORS),
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


def infer_kind(storage: Storage) -> FileKind:
    """The kind of file that `storage` is.

    Raises:
        FormatError: it is empty.
        UnsupportedError: it is of a kind that is known and not read.
    """
    size = storage.size
    if size == 0:
        raise FormatError("the file is empty", path=storage.name)
    head = bytes(read(storage, 0, min(size, _HEAD_BYTES)))
    if _has_hdf5_signature(storage):
        return "hdf5"
    if size >= 8 and bytes(read(storage, size - 8, 8)) == _TABLE_MAGIC:
        return "table"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _infer_archive(storage)
    from ckptkit.formats.safetensors import is_safetensors

    # Before anything that is known by its first bytes: here these are a length, which can be any number.
    if is_safetensors(storage):
        return "safetensors"
    for offset, signature, found, hint in _FOREIGN:
        if head.startswith(signature, offset):
            raise UnsupportedError("not a checkpoint that is read here", path=storage.name, found=found, hint=hint)
    if head.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return "json"
    if head[8:9] == b"{":
        return "safetensors"
    return "state" if head.startswith((b"model_checkpoint_path:", b"all_model_checkpoint_paths:")) else "unknown"


def _has_hdf5_signature(storage: Storage) -> bool:
    """Whether HDF5's signature is at 0, 512, 1024, 2048 …, where a user block may put it (HDF5 format, II.A)."""
    offset = 0
    storage.expect([0, *(512 << doubling for doubling in range(storage.size.bit_length()))])
    while offset + len(HDF5_SIGNATURE) <= storage.size:
        if read(storage, offset, len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
            return True
        offset = offset * 2 or 512
    return False


def _infer_archive(storage: Storage) -> FileKind:
    from ckptkit.formats.zip_members import members

    names = list(members(storage, paths=False))
    if any(name in ("model.weights.h5", "config.json", "metadata.json") for name in names):
        return "keras"
    if not names or any(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.endswith("data.pkl") for name in names):
        found, hint = "a PyTorch archive", _TO_SAFETENSORS
    elif any(name.rpartition("/")[2] in ("saved_model.pb", "checkpoint") or name.endswith(".index") for name in names):
        found, hint = "a zip archive of a TensorFlow checkpoint", _UNPACK
    else:
        found, hint = "a zip archive of something else", _UNPACK
    raise UnsupportedError("not a checkpoint that is read here", path=storage.name, found=found, hint=hint)
