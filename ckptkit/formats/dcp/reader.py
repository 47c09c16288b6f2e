"""Reading folders of `torch.distributed.checkpoint`."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, FormatError, LimitError
from ckptkit.formats.dcp.items import Files
from ckptkit.formats.dcp.layout import METADATA, metadata_of
from ckptkit.formats.dcp.metadata import Metadata, read_metadata
from ckptkit.formats.dcp.source import DistributedSource, Part, Stored
from ckptkit.formats.partitions import check_tiling
from ckptkit.formats.torch.reader import listed, told_beside
from ckptkit.model import Contents, PickledState, StoredTensor, TensorSpec

if TYPE_CHECKING:
    from ckptkit.formats.dcp.metadata import Entry
    from ckptkit.storage.address import Address

# Parts may be views of larger storages, but tensors of a checkpoint share nothing: what all come to, in any case and for
# each byte of the files.
_SHARED_ANYWAY = 64 << 20
_SHARED_PER_BYTE = 2

_Path = tuple[str, ...]


def files(at: Address) -> tuple[Address, ...]:
    """The metadata, and the data files that it names."""
    heads = metadata_of(at)
    metadata = _read(heads)
    names = {place.file: None for entry in metadata.entries.values() for place in entry.places if place}
    return (*heads, *map(heads[0].beside, names))


def open(at: Address) -> tuple[Contents, DistributedSource]:  # noqa: A001
    """The tensors of the folder `at`, or those that one rank wrote, and their bytes.

    Raises:
        CkptkitError: it has no metadata, or that is wrong or beyond the limits.
    """
    heads = metadata_of(at)
    metadata = _read(heads)
    data = Files(heads[0].folder)
    with ExitStack() as opened:
        opened.callback(data.close)
        stored = {
            "/".join(entry.path): _stored(entry, data) for entry in metadata.entries.values() if entry.dtype is not None
        }
        if len(stored) < sum(entry.dtype is not None for entry in metadata.entries.values()):
            raise FormatError("two tensors have this name", path=heads[0], key=_twice(metadata))
        _check_sizes(metadata, stored, data)
        objects = _Objects(data)
        for entry in metadata.entries.values():
            if entry.dtype is None:
                objects.read(entry)
        opened.pop_all()
    tensors = [
        StoredTensor(key, each.entry.shape, each.entry.dtype or "", each.nbytes, problem=each.problem)
        for key, each in stored.items()
    ]
    places = {key: each.entry.path for key, each in stored.items()}
    for path, tensor in objects.tensors.items():
        if tensor.key in places:
            raise FormatError("two tensors have this name", path=heads[0], key=tensor.key)
        places[tensor.key] = path
        tensors.append(tensor)
    wants = dict.fromkeys((*metadata.wants, *objects.wants))
    contents = Contents(
        "torch-distributed", "PyTorch, torch.distributed.checkpoint", tuple(tensors),
        PickledState(places, plain=objects.plain, unordered=not metadata.ordered),
        notes=_notes(heads, metadata, stored, objects, tuple(wants)), damage=(*_damage(stored), *objects.damage),
        wants=tuple(wants),
    )  # fmt: skip
    return contents, DistributedSource(data, stored, objects.sources)


def _read(heads: list[Address]) -> Metadata:
    with ExitStack() as opened:
        return read_metadata([opened.enter_context(closing(head.open())) for head in heads])


def _twice(metadata: Metadata) -> str:
    keys = Counter("/".join(entry.path) for entry in metadata.entries.values() if entry.dtype is not None)
    return keys.most_common(1)[0][0]


def _stored(entry: Entry, data: Files) -> Stored:
    nbytes = TensorSpec(entry.name, entry.shape, entry.dtype or "").nbytes
    inside = all(
        len(part.starts) == len(entry.shape)
        and all(at + n <= size for at, n, size in zip(part.starts, part.lengths, entry.shape, strict=True))
        for part in entry.parts
    )
    if not inside:
        return Stored(entry, nbytes, "a part of the tensor reaches beyond it")
    try:
        check_tiling(entry.shape, entry.parts)
    except FormatError as error:
        return Stored(entry, nbytes, error.problem)
    for part, place in zip(entry.parts, entry.places, strict=True):
        problem = data.problem(place) if place else f"nothing says where its part {part} lies"
        if problem is not None:
            return Stored(entry, nbytes, problem)
    return Stored(entry, nbytes, None)


def _check_sizes(metadata: Metadata, stored: dict[str, Stored], data: Files) -> None:
    """Raise `LimitError` where items, or tensors, come to more than the files."""
    total = sum(each.nbytes for each in stored.values() if each.problem is None)
    allowed = max(_SHARED_ANYWAY, _SHARED_PER_BYTE * data.size)
    places = [
        place for entry in metadata.entries.values() for place in entry.places if place and not data.problem(place)
    ]
    items = sum(place.length for place in places)
    if total > allowed or items > data.size:
        raise LimitError(
            "the tensors come to many times the bytes of the files" if total > allowed else "items share bytes",
            path=data.folder, expected=f"at most {allowed if total > allowed else data.size} bytes",
            found=total if total > allowed else items,
        )  # fmt: skip


@dataclass(slots=True)
class _Objects:
    """What lies beside the tensors: objects that were pickled each by itself, and what is in them."""

    data: Files
    tensors: dict[_Path, StoredTensor] = field(default_factory=dict)
    sources: dict[str, Part] = field(default_factory=dict)
    plain: dict[_Path, object] = field(default_factory=dict)
    records: dict[str, _Path] = field(default_factory=dict)
    wants: dict[str, _Path] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    def read(self, entry: Entry) -> None:
        """Take in what an object is."""
        place = entry.places[0]
        problem = self.data.problem(place) if place else "nothing says where it lies"
        if place is None or problem is not None:
            self.damage.append(f"{entry.name}: {problem}")
            return
        try:
            if not self.data.is_saved(place):
                self.records.setdefault("bytes that are no file of torch.save", entry.path)
                return
            read, source = self.data.saved(place)
        except CkptkitError as error:
            self.damage.append(f"{entry.name}: {error.problem}")
            return
        found = read.found
        self.plain |= {(*entry.path, *at): value for at, value in found.plain.items()}
        for noted, those in ((self.records, found.records), (self.wants, found.wants)):
            for name, at in those.items():
                noted.setdefault(name, (*entry.path, *at))
        for at, (key, view) in zip(found.tensors, read.views.items(), strict=True):
            path = (*entry.path, *at)
            name = "/".join(path)
            tensor = view.tensor
            self.tensors[path] = StoredTensor(name, tensor.shape, tensor.dtype, view.nbytes, problem=view.problem)
            self.sources[name] = source, key
        if not found.tensors:
            source.close()


def _damage(stored: dict[str, Stored]) -> list[str]:
    """A line for each kind of problem, with the first tensor that has it."""
    concerned: dict[str, list[str]] = {}
    for key, each in stored.items():
        if each.problem:
            concerned.setdefault(each.problem, []).append(key)
    return [
        f"{keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}: {problem}"
        for problem, keys in concerned.items()
    ]


def _notes(
    heads: list[Address], metadata: Metadata, stored: dict[str, Stored], objects: _Objects, wants: tuple[str, ...]
) -> tuple[str, ...]:
    held = {place.file for each in stored.values() for place in each.entry.places if place}
    several = sum(len(each.entry.parts) > 1 for each in stored.values())
    parts = f", {several} of {len(stored)} tensors in parts" if several else ""
    notes = [f"{len(held)} data file{'' if len(held) == 1 else 's'}{parts}"]
    if heads[0].base != METADATA:
        notes.append(f"metadata of single ranks: {', '.join(head.base for head in heads[:5])}")
    if metadata.copies:
        shown = f"{next(iter(metadata.copies))}{f' and {len(metadata.copies) - 1} more' if len(metadata.copies) > 1 else ''}"
        notes.append(f"several ranks hold a copy, of which the first is read: {shown}")
    notes += told_beside(objects.plain, objects.records)
    if wants:
        notes.append(
            f"its pickles want {listed({name: objects.wants.get(name, ()) for name in wants})}, which ckptkit never "
            "makes: diff, remap and convert refuse it"
        )
    return tuple(notes)
