"""Reading files of `torch.save`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.layout import decode_layout
from ckptkit.formats.sharded import read_index
from ckptkit.formats.torch.archive import open_archive
from ckptkit.formats.torch.flatten import Found, Path, flatten
from ckptkit.formats.torch.rebuild import Stored, Tensor
from ckptkit.formats.torch.shards import Shards
from ckptkit.formats.torch.source import ChecksummedSource, Held, Source, View
from ckptkit.formats.torch.storages import Opened
from ckptkit.formats.torch.stream import is_stream, open_stream
from ckptkit.formats.torch.strided import reach
from ckptkit.formats.torch.tar import is_tar, open_tar
from ckptkit.formats.zip.members import is_zip
from ckptkit.model import Contents, PickledState, StoredTensor, TensorSource
from ckptkit.storage.scratch import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

# Tensors may share storages, and an expanded one says one number any number of times: what all come to, in any case and
# for each byte of the file. Weights, their averages and an optimizer's slots share none.
_SHARED_ANYWAY = 256 << 20
_SHARED_PER_BYTE = 4


# Attributes of the outermost dictionary in files that ckptkit wrote: groups of a Keras container that travel with the
# weights, and that nothing told their order.
LAYOUT_ATTRIBUTE, ORDER_ATTRIBUTE = "_ckptkit_layout", "_ckptkit_order"


INDEX_SUFFIX = ".bin.index.json"


def files(path: Address) -> tuple[Address, ...]:
    """The file `path`, and the shards that it names where it is an index."""
    if not path.ends_with(INDEX_SUFFIX):
        return (path,)
    return (path, *map(path.beside, dict.fromkeys(read_index(path).values())))


def open(path: Address) -> tuple[Contents, TensorSource]:  # noqa: A001
    """The tensors of the file `path`, or of the shards whose index it is; raises as `open_torch` and `open_index`."""
    return open_index(path) if path.ends_with(INDEX_SUFFIX) else path.read_with(open_torch)


def open_index(path: Address) -> tuple[Contents, TensorSource]:
    """The tensors of a state dict in shards, by its index (`pytorch_model.bin.index.json`).

    Raises:
        FormatError: the index is wrong, or a shard does not hold what it says.
        NotFoundError: a shard is missing.
    """
    weight_map = read_index(path)
    held: dict[str, StoredTensor] = {}
    reads: list[Contents] = []
    sources: dict[str, TensorSource] = {}
    with ExitStack() as opened:
        for shard in dict.fromkeys(weight_map.values()):
            contents, source = path.beside(shard).read_with(open_torch)
            opened.callback(source.close)
            reads.append(contents)
            for tensor in contents.tensors:
                if weight_map.get(tensor.key) != shard:
                    raise FormatError("the index does not list a tensor of this shard", path=path, key=tensor.key)
                held[tensor.key] = tensor
                sources[tensor.key] = source
        missing = next((key for key in weight_map if key not in held), None)
        if missing is not None:
            raise FormatError(
                "the shard does not hold a tensor of the index", path=path, key=missing, found=weight_map[missing]
            )
        opened.pop_all()
    states = [each.structure for each in reads if isinstance(each.structure, PickledState)]
    structure = PickledState(
        {key: place for state in states for key, place in state.places.items()},
        unordered=any(state.unordered for state in states),
    )
    contents = Contents(
        "torch-sharded", "PyTorch", tuple(held.values()), structure, notes=(f"{len(reads)} shards",),
        damage=tuple(dict.fromkeys(each for read in reads for each in read.damage)),
        wants=tuple(dict.fromkeys(each for read in reads for each in read.wants)),
    )  # fmt: skip
    return contents, Shards(sources)


def is_torch(storage: Storage) -> bool:
    """Whether a file that is no zip archive is one of `torch.save`."""
    return is_stream(storage) or is_tar(storage)


def open_torch(storage: Storage) -> tuple[Contents, TensorSource]:
    """The tensors of a file of `torch.save`, in the order in which its pickle has them, and their bytes.

    Raises:
        FormatError: the file is wrong in any way.
        UnsupportedError: a pickle that PyTorch does not write.
        LimitError: too long a pickle, too many tensors, or tensors that share too many bytes.
    """
    read = read_views(storage)
    tensors = []
    for key, view in read.views.items():
        tensor = view.tensor
        tensors.append(
            StoredTensor(key, tensor.shape, tensor.dtype, view.nbytes, trainable=tensor.trainable, problem=view.problem)
        )
    opened, found = read.opened, read.found
    layout = decode_layout(str(found.attributes.get(LAYOUT_ATTRIBUTE, "")))
    unordered = found.attributes.get(ORDER_ATTRIBUTE) == "sorted"
    places = dict(zip(read.views, found.tensors, strict=True))
    structure = PickledState(places, found.modules, found.plain, _tied(found), unordered)
    contents = Contents(
        "torch", _producer(opened, found), tuple(tensors), structure, layout=layout, notes=_notes(opened, found),
        damage=read.damage, wants=tuple(found.wants),
    )  # fmt: skip
    return contents, read.source(storage)


@dataclass(frozen=True, slots=True)
class Read:
    """What a file of `torch.save` holds, with the storages that its tensors are views of.

    Attributes:
        opened: the file.
        found: what its pickle says.
        views: tensors by key.
        damage: what is wrong, once each.
        inline: storages inside of the pickle.
    """

    opened: Opened
    found: Found
    views: Mapping[str, View]
    damage: tuple[str, ...]
    inline: Sequence[Storage]

    def source(self, storage: Storage) -> Source:
        """The source of the tensors, which closes the file."""
        kind = ChecksummedSource if self.opened.checksums else Source
        return kind(storage.name, self.views, [*self.inline, *self.opened.opened])


def read_views(storage: Storage, *, packed: bool = True) -> Read:
    """The tensors of a file of `torch.save` as views of its storages; see `open_archive`, raises as `open_torch`."""
    opened, found = open_found(storage, packed=packed)
    views: dict[str, View] = {}
    inline: list[Storage] = []
    damage: dict[str, None] = {}
    for at, tensor in found.tensors.items():
        key = "/".join(at)
        if key in views:
            raise FormatError("two tensors have this name", path=storage.name, key=key)
        views[key], damaged = _view(storage, opened, tensor, inline)
        if damaged:
            damage[damaged] = None
    _check_shared(storage, views)
    return Read(opened, found, views, tuple(damage), inline)


def open_found(storage: Storage, *, packed: bool = True) -> tuple[Opened, Found]:
    """The pickle of a file of `torch.save`, and what lies in it; raises as `open_torch`."""
    opened = open_archive(storage, packed=packed) if is_zip(storage) else _opener(storage)(storage)
    return opened, flatten(opened.value, opened.names, opened.persist, storage.name)


def _opener(storage: Storage) -> Callable[[Storage], Opened]:
    return open_tar if is_tar(storage) else open_stream


def _view(storage: Storage, opened: Opened, tensor: Tensor, inline: list[Storage]) -> tuple[View, str | None]:
    """A tensor with its storage, and what is damaged where it cannot be read for that."""
    if isinstance(tensor.storage, bytes):
        inline.append(hold(storage.name, len(tensor.storage), [tensor.storage]))
        return View(tensor, Held(inline[-1], tensor.swapped), tensor.problem), None
    if tensor.storage is None:
        return View(tensor, None, tensor.problem), None
    stored = tensor.storage
    held = opened.storages.get(stored.key)
    if held is None:
        problem = opened.problems.get(stored.key, f"the file has no storage {stored.key}")
        return View(tensor, None, problem), problem
    outside = _outside(stored, held, tensor)
    if outside is not None:
        return View(tensor, None, outside), outside
    if opened.swapped and stored.dtype is None and dtypes.itemsize(tensor.dtype) > 1:
        problem = "in a storage without a type, written on a machine of the other byte order"
        return View(tensor, None, tensor.problem or problem), None
    if stored.begin:
        size = dtypes.itemsize(stored.dtype or "uint8")
        tensor = replace(tensor, offset=tensor.offset + stored.begin * size // dtypes.itemsize(tensor.dtype))
    return View(tensor, held, tensor.problem), None


def _outside(stored: Stored, held: Held, tensor: Tensor) -> str | None:
    """What is wrong where a storage, a view of it or a tensor ends behind the bytes that are there."""
    size = dtypes.itemsize(stored.dtype or "uint8")
    if stored.items * size != held.storage.size:
        return f"storage {stored.key} has {held.storage.size} bytes and should have {stored.items * size}"
    end = stored.items if stored.end is None else stored.end
    if end > stored.items:
        return f"a view of storage {stored.key} ends behind it"
    wanted = tensor.offset + reach(tensor.shape, tensor.strides) if 0 not in tensor.shape else 0
    if wanted * dtypes.itemsize(tensor.dtype) > (end - stored.begin) * size:
        return f"a tensor ends behind its storage {stored.key}"
    return None


def _check_shared(storage: Storage, views: dict[str, View]) -> None:
    total = sum(view.nbytes for view in views.values() if view.held is not None)
    allowed = max(_SHARED_ANYWAY, _SHARED_PER_BYTE * storage.size)
    if total > allowed:
        raise LimitError(
            "the tensors come to many times the bytes of the file", path=storage.name,
            expected=f"at most {allowed} bytes", found=total, hint="Save contiguous copies: tensor.contiguous()",
        )  # fmt: skip


def _tied(found: Found) -> tuple[tuple[Path, Path], ...]:
    """Pairs of paths that lead to one tensor: the same elements of the same storage."""
    first: dict[object, Path] = {}
    pairs = []
    for at, tensor in found.tensors.items():
        if isinstance(tensor.storage, Stored) and 0 not in tensor.shape:
            place = (tensor.storage, tensor.dtype, tensor.offset, tensor.shape, tensor.strides)
            if first.setdefault(place, at) is not at:
                pairs.append((first[place], at))
    return tuple(pairs)


def _producer(opened: Opened, found: Found) -> str:
    lightning = found.plain.get(("pytorch-lightning_version",))
    by = f", Lightning {lightning}" if isinstance(lightning, str) and len(lightning) < 40 else ""
    return f"PyTorch, {opened.kind}{by}"


def _notes(opened: Opened, found: Found) -> tuple[str, ...]:
    notes = list(opened.notes)
    notes += told_beside(found.plain, found.records)
    if found.wants:
        notes.append(
            f"the pickle wants {listed(found.wants)}, which ckptkit never makes: diff, remap and convert refuse it"
        )
    return tuple(notes)


def told_beside(plain: Mapping[Path, object], records: Mapping[str, Path]) -> list[str]:
    """Notes on what lies beside the tensors: short values at the top, and records that are shown and not made."""
    notes = []
    beside = [f"{_shown(at)} = {value!r}" for at, value in plain.items() if len(at) == 1 and _short(value)]
    if beside:
        more = f" and {len(beside) - 8} more" if len(beside) > 8 else ""
        notes.append(f"beside the tensors: {', '.join(beside[:8])}{more}")
    if records:
        notes.append("shown and not made: " + listed(records))
    return notes


def _short(value: object) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) < 40)


def listed(found: Mapping[str, Path]) -> str:
    """Names with where the first of each lies, the first five of them."""
    shown = [f"{name} ({_shown(at)})" if at else name for name, at in list(found.items())[:5]]
    return ", ".join(shown) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _shown(at: Path) -> str:
    return "/".join(at)
