"""The `.metadata` of a distributed checkpoint: a pickle, read as data, that says which part of what lies where.

Source: torch/distributed/checkpoint/metadata.py, filesystem.py (`_StorageInfo`) and default_planner.py of PyTorch 2.0 to 2.13;
before 2.3 the properties of a tensor were those of torch/distributed/_shard/sharded_tensor/metadata.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ckptkit.errors import FormatError, LimitError
from ckptkit.formats.partitions import Partition
from ckptkit.formats.torch.feed import Feed
from ckptkit.formats.torch.flatten import MAX_NAMES_BYTES, MAX_TENSORS
from ckptkit.formats.torch.known import is_known
from ckptkit.formats.torch.pickles import Call, Global, List, Value, read_object
from ckptkit.formats.torch.rebuild import MalformedError, dtype_of, mapping, sizes

if TYPE_CHECKING:
    from ckptkit.storage.bytes import Storage

_HERE, _SHARDED = "torch.distributed.checkpoint.metadata", "torch.distributed._shard.sharded_tensor.metadata"
# Megatron's is PyTorch's with an attribute more.
_METADATA = (f"{_HERE}.Metadata", "megatron.core.dist_checkpointing.strategies.torch.MCoreMetadata")
_TENSOR, _BYTES = f"{_HERE}.TensorStorageMetadata", f"{_HERE}.BytesStorageMetadata"
_PROPERTIES = (f"{_HERE}.TensorProperties", f"{_SHARDED}.TensorProperties")
_CHUNK, _INDEX = f"{_HERE}.ChunkStorageMetadata", f"{_HERE}.MetadataIndex"
_PLACE = "torch.distributed.checkpoint.filesystem._StorageInfo"
_KNOWN = frozenset({
    *_METADATA, _TENSOR, _BYTES, *_PROPERTIES, _CHUNK, _INDEX, _PLACE, f"{_HERE}.StorageMeta",
    f"{_HERE}._MEM_FORMAT_ENCODING", f"{_SHARDED}.MEM_FORMAT_ENCODING",
})  # fmt: skip


# What nodes that are shared may unfold to: attributes of an object, keys of a path, parts of all tensors.
_MOST_FIELDS = 100
MAX_DEPTH = 64
MAX_PARTS = 250_000
MAX_NAME = 4096
# Dots of a name that are looked at for numbers.
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """Where an item lies: bytes of a file in the folder, and what its writer put them through."""

    file: str
    offset: int
    length: int
    transforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor, or an object that was pickled.

    Attributes:
        name: as the metadata has it.
        path: keys of the dictionaries that led to it before they were made one.
        dtype: canonical; None for an object.
        shape: of the whole tensor.
        parts: the boxes in which it is stored; of an object the one that it is.
        places: where each is; None where nothing says it.
    """

    name: str
    path: tuple[str, ...]
    dtype: str | None
    shape: tuple[int, ...] = ()
    parts: tuple[Partition, ...] = (Partition((), ()),)
    places: tuple[ItemPlace | None, ...] = (None,)


@dataclass(slots=True)
class Metadata:
    """What one or several files of metadata say.

    Attributes:
        entries: by name, in the order in which a `state_dict` had them where that is told.
        ordered: whether it is.
        wants: names that the pickles would import and that mean nothing here.
        copies: names of the tensors of which several ranks wrote the same part; the first one's counts, as of an object.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    ordered: bool = True
    wants: dict[str, None] = field(default_factory=dict)
    copies: dict[str, None] = field(default_factory=dict)


def read_metadata(storages: Sequence[Storage]) -> Metadata:
    """The metadata of a checkpoint: in one file, or in one of each rank, whose parts are put together.

    Raises:
        FormatError: not such a pickle, or two files contradict each other.
        UnsupportedError: a pickle with opcodes that PyTorch does not write.
        LimitError: too long a pickle, too many entries or too long names.
    """
    found = Metadata()
    for storage in storages:
        pickle = read_object(Feed(storage))
        found.wants |= {name.path: None for name in pickle.names if name.path not in _KNOWN and not is_known(name)}
        try:
            state = _fields(pickle.value, *_METADATA)
            order, read = _entries(state, storage.name)
        except (MalformedError, TypeError, ValueError) as error:
            raise FormatError("not the metadata of a distributed checkpoint", path=storage.name) from error
        found.ordered = found.ordered and order
        for entry in read:
            known = found.entries.get(entry.name)
            if known is not None and (known.dtype, known.shape, known.path) != (entry.dtype, entry.shape, entry.path):
                raise FormatError("an entry is another one for each rank", path=storage.name, key=entry.name)
            if known is None:
                found.entries[entry.name] = entry
            elif known.dtype is not None:
                new = [at for at, part in enumerate(entry.parts) if part not in known.parts]
                if len(new) < len(entry.parts):
                    found.copies[entry.name] = None
                found.entries[entry.name] = replace(
                    known,
                    parts=(*known.parts, *(entry.parts[at] for at in new)),
                    places=(*known.places, *(entry.places[at] for at in new)),
                )
        if len(found.entries) > MAX_TENSORS or sum(map(len, found.entries)) > MAX_NAMES_BYTES:
            raise LimitError("too many entries, or too long names", path=storage.name, expected=MAX_TENSORS)
    return found


def _fields(value: Value, *names: str) -> Mapping[str, Value]:
    """The attributes of an object of one of the classes `names`."""
    if not isinstance(value, Call) or not isinstance(value.of, Global) or value.of.path not in names:
        raise MalformedError
    pairs = mapping(value.state) if value.state is not None else ([], None)
    if pairs is None or len(pairs[0]) > _MOST_FIELDS:
        raise MalformedError
    return {key: item for key, item in pairs[0] if isinstance(key, str)}


def _entries(state: Mapping[str, Value], path: str) -> tuple[bool, list[Entry]]:
    """Whether their order is that of a `state_dict`, and the entries in it."""
    listed, stored = mapping(state.get("state_dict_metadata")), mapping(state.get("storage_data"))
    if listed is None or stored is None:
        raise MalformedError
    planned = mapping(state.get("planner_data"))
    paths = {key: _path(path) for key, path in (planned[0] if planned else ()) if isinstance(key, str)}
    places: dict[tuple[str, tuple[int, ...] | None], ItemPlace] = {}
    for key, info in stored[0]:
        index = _fields(key, _INDEX)
        offset = index.get("offset")
        name = index.get("fqn")
        at = str(name), None if offset is None else sizes(offset)
        if not isinstance(name, str) or at in places:
            raise MalformedError
        places[at] = _place(info, path)
    found: dict[str, Entry] = {}
    count = 0
    for name, item in listed[0]:
        if not isinstance(name, str) or len(name) > MAX_NAME or name in found:
            raise MalformedError
        chunks = getattr(item.state, "pairs", ()) if isinstance(item, Call) else ()
        count += sum(len(held.items) for _, held in chunks[:_MOST_FIELDS] if isinstance(held, List))
        if count > MAX_PARTS:
            raise LimitError("the tensors have too many parts", path=path, expected=f"at most {MAX_PARTS}")
        found[name] = _entry(name, paths.get(name, (name,)), item, places)
    # Items that several ranks hold are written by one of them, so that the list has no order then; the planner's has.
    order = [name for name in paths if name in found]
    ordered = len(order) == len(found) or len({place.file for place in places.values()}) < 2
    return ordered and _rises(order or found), [found[name] for name in dict.fromkeys([*order, *found])]


def _rises(names: Sequence[str] | Mapping[str, object]) -> bool:
    """Whether numbered parts of names come in rising order: with stages of a pipeline the last one's come first."""
    highest: dict[str, int] = {}
    for name in names:
        parts = name.split(".", _DEEPEST)
        for at, part in enumerate(parts):
            if part.isdecimal() and len(part) < 10:
                begin = ".".join(parts[:at])
                if highest.setdefault(begin, int(part)) > int(part):
                    return False
                highest[begin] = int(part)
    return True


def _path(value: Value) -> tuple[str, ...]:
    """A path as the planner keeps it: keys of dictionaries, and places in lists."""
    if not isinstance(value, tuple) or not 0 < len(value) <= MAX_DEPTH:
        raise MalformedError
    if not all(isinstance(part, str | int) and len(str(part)) <= MAX_NAME for part in value):
        raise MalformedError
    return tuple(map(str, value))


def _place(value: Value, path: str) -> ItemPlace:
    state = _fields(value, _PLACE)
    file, offset, length = state.get("relative_path"), state.get("offset"), state.get("length")
    transforms = state.get("transform_descriptors")
    if not isinstance(file, str) or type(offset) is not int or type(length) is not int or min(offset, length) < 0:
        raise MalformedError
    if file in ("", ".", "..") or any(char in file for char in "/\\\0"):
        raise FormatError("an item is to lie in a file that is not in the folder", path=path, found=repr(file)[:200])
    names = getattr(transforms, "items", transforms) or ()
    if (
        not isinstance(names, list | tuple)
        or len(names) > MAX_DEPTH
        or not all(isinstance(name, str) for name in names)
    ):
        raise MalformedError
    return ItemPlace(file, offset, length, tuple(names))


def _entry(
    name: str, path: tuple[str, ...], item: Value, places: Mapping[tuple[str, tuple[int, ...] | None], ItemPlace]
) -> Entry:
    if isinstance(item, Call) and isinstance(item.of, Global) and item.of.path == _BYTES:
        return Entry(name, path, None, places=(places.get((name, None)),))
    state = _fields(item, _TENSOR)
    properties = state.get("properties")
    if not isinstance(properties, Call) or not isinstance(properties.of, Global):
        raise MalformedError
    told = properties.state  # `__getstate__` gives a tuple that begins with the dtype, and has grown since
    if properties.of.path not in _PROPERTIES or not isinstance(told, tuple) or not told:
        raise MalformedError
    listed = list(_parts(state.get("chunks")))
    parts = [part for part in listed if part.size] or listed[:1]  # a rank may hold no element of a tensor
    held = tuple(places.get((name, part.starts)) for part in parts)
    return Entry(name, path, dtype_of(told[0]), sizes(state.get("size")), tuple(parts), held)


def _parts(value: Value) -> Iterator[Partition]:
    if not isinstance(value, List):
        raise MalformedError
    for item in value.items:
        chunk = _fields(item, _CHUNK)
        starts, lengths = sizes(chunk.get("offsets")), sizes(chunk.get("sizes"))
        if len(starts) != len(lengths):
            raise MalformedError
        yield Partition(starts, lengths)
