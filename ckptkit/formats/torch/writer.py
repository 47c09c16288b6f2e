"""Writing files of `torch.save`: new ones as zip archives, and copies of a template with other numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ckptkit.errors import UnsupportedError, WriteError
from ckptkit.formats.layout import encode_layout
from ckptkit.formats.parts import FilePart, Outline
from ckptkit.formats.registry import named
from ckptkit.formats.sharded import outline_shards, outline_shards_like, read_index
from ckptkit.formats.torch.pickling import Tree, can_hold, pickled
from ckptkit.formats.torch.reader import INDEX_SUFFIX, LAYOUT_ATTRIBUTE, ORDER_ATTRIBUTE, read_views
from ckptkit.formats.torch.reader import open as open_file
from ckptkit.formats.torch.rewrite import rewrite
from ckptkit.formats.zip.members import STORED
from ckptkit.formats.zip.writing import archive, member
from ckptkit.model import WRITE_BYTES, Contents, StoredTensor, TensorSource, TensorSpec

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Mapping, Sequence

    from ckptkit.storage.address import Address

SHARDED = "torch-sharded"

# As PyTorch aligns storages, and says so in the archive (torch/serialization.py, `_save`).
ALIGNMENT = 64
_FOLDER = "archive"


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002
    """A new file; or shards, about equal in size, and their index.

    Args:
        format: `torch` or `torch-sharded`.
        contents: what it is to hold; `a/b` is `b` in the dictionary `a`.
        final: the file that it gets to be, or the index.
        workers: how many there are to write shards.
    """
    attributes = _attributes(contents)
    if format == SHARDED:
        return outline_shards(named(SHARDED), contents, final, workers, partial(_new_part, attributes=attributes), {})
    return Outline([_new_part(final.base, contents.tensors, attributes)])


def _attributes(contents: Contents) -> dict[str, str]:
    """What tells the next reader whether the order of the tensors is one, and the groups that they had in Keras."""
    if contents.layout is None:
        return {ORDER_ATTRIBUTE: "sorted"}
    return {} if contents.layout.kind == "order" else {LAYOUT_ATTRIBUTE: encode_layout(contents.layout)}


def _new_part(name: str, tensors: Sequence[StoredTensor], attributes: Mapping[str, str]) -> FilePart:
    keys, nbytes = [tensor.key for tensor in tensors], sum(tensor.nbytes for tensor in tensors)
    make = partial(write_torch, tensors=tuple(tensors), attributes=dict(attributes))
    return FilePart(name, keys, nbytes, make, open_file)


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:  # noqa: ARG001
    """A copy of `template`, in which `tensors` hold other values: a file, or shards, which are then the template's.

    Raises:
        NotFoundError: the template has no tensor of a key.
    """
    if not template.ends_with(INDEX_SUFFIX):
        return Outline([_like_part(final.base, template, tensors)])
    total = 0
    for held in dict.fromkeys(read_index(template).values()):
        read = template.beside(held).read_with(read_views)
        total += sum(view.nbytes for view in read.views.values())
        for storage in (*read.inline, *read.opened.opened):
            storage.close()
    empty = partial(_new_part, tensors=(), attributes={})
    return outline_shards_like(named(SHARDED), template, tensors, final, _like_part, empty, total)


def _like_part(name: str, template: Address, tensors: Mapping[str, TensorSpec]) -> FilePart:
    keys = [spec.name for spec in tensors.values()]
    there = template.absolute()  # read by whoever writes it, wherever that is
    return FilePart(name, keys, template.size(), partial(rewrite, template=there, tensors=tensors), open_file)


def write_torch(
    path: str, tensors: Sequence[StoredTensor], source: TensorSource, attributes: Mapping[str, str]
) -> None:
    """Write `tensors` to a new archive `path`, in their order, streaming.

    Args:
        path: the new file.
        tensors: what goes in.
        source: answers for their keys.
        attributes: see `pickled`.

    Raises:
        UnsupportedError: a dtype that torch does not have.
        WriteError: the file cannot be written.
    """
    specs = [TensorSpec(tensor.key, tensor.shape, tensor.dtype) for tensor in tensors]
    for spec in specs:
        if not can_hold(spec.dtype):
            raise UnsupportedError(
                "torch has no tensors of this type", path=path, key=spec.name, found=spec.dtype,
                hint="npz and TensorFlow bundles have more dtypes",
            )  # fmt: skip
    head = pickled(specs, _tree([spec.name for spec in specs]), attributes)
    with archive(path) as opened:
        _text(opened, "data.pkl", head)
        _text(opened, ".format_version", b"1")
        _text(opened, ".storage_alignment", str(ALIGNMENT).encode())
        _text(opened, "byteorder", b"little")
        for number, spec in enumerate(specs):
            done = 0
            name = f"{_FOLDER}/data/{number}"
            with member(opened, name, STORED, spec.nbytes, align=ALIGNMENT) as file:
                for piece in source.stream(spec.name, memoryview(bytearray(WRITE_BYTES))):
                    file.write(piece)
                    done += len(piece)
            if done != spec.nbytes:
                raise WriteError(
                    "a tensor has another size than it should", path=path, key=spec.name, expected=spec.nbytes,
                    found=done,
                )  # fmt: skip
        _text(opened, "version", b"3\n")


def _text(opened: zipfile.ZipFile, name: str, content: bytes) -> None:
    with member(opened, f"{_FOLDER}/{name}", STORED, len(content), align=ALIGNMENT) as file:
        file.write(content)


def _tree(keys: Sequence[str]) -> Tree:
    """Dictionaries within dictionaries by the slashes in the keys; what does not fit in stays whole in the outermost."""
    root: dict[str, dict | int] = {}
    for number, key in enumerate(keys):
        *outer, last = key.split("/")
        at: dict[str, dict | int] | int | None = root
        for part in outer:
            at = at.setdefault(part, {}) if isinstance(at, dict) else None
        if isinstance(at, dict) and last not in at:
            at[last] = number
        elif key not in root:
            root[key] = number
        else:
            raise UnsupportedError("two tensors have this name", key=key)
    return root
