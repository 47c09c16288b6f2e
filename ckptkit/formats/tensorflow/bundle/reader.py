"""Opening a tensor bundle: its index becomes a list of tensors, each with what speaks against reading it.

What makes the list itself unsound (a malformed entry, a negative dimension, keys out of order) is an error. What
concerns the data of one tensor is its `problem`, so that a bundle with a missing shard is still shown.
"""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.formats.layout import BUNDLE_KEY, decode_layout
from ckptkit.formats.partitions import Partition
from ckptkit.formats.tensorflow.bundle.checksum import unmask
from ckptkit.formats.tensorflow.bundle.entries import (
    HEADER_KEY,
    BundleEntry,
    BundleHeader,
    EntryParser,
    parse_header,
)
from ckptkit.formats.tensorflow.bundle.object_graph import GRAPH_KEY, parse_object_graph
from ckptkit.formats.tensorflow.bundle.slices import encode_slice_key, infer_parts
from ckptkit.formats.tensorflow.bundle.source import BundleSource, Shards, ValuePlace
from ckptkit.formats.tensorflow.bundle.table import open_table, read_entries
from ckptkit.formats.tensorflow.meta_graph import NO_META, Meta, read_meta
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX, META_SUFFIX, leftovers, shard_address
from ckptkit.formats.tensorflow.wire import naming
from ckptkit.model import Contents, Layout, ObjectGraph, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.storage.address import Address

# TensorFlow's types that hold no data of their own (types.proto).
_WITHOUT_DATA = {20: "resource", 21: "variant"}

_DETAIL = re.compile(r" \(.*\)$")  # what a problem says of one tensor only

MAX_RANK = 64
"""NumPy's `NPY_MAXDIMS`; TensorFlow itself allows 254."""


def files(prefix: Address) -> tuple[Address, ...]:
    """Index, graph and data files of the bundle `prefix`."""
    index = prefix.add(INDEX_SUFFIX)
    if not index.is_file():
        return (index,)
    count = read_header(prefix).num_shards
    return (index, prefix.add(META_SUFFIX), *(shard_address(prefix, shard, count) for shard in range(count)))


def open(prefix: Address) -> tuple[Contents, BundleSource]:  # noqa: A001
    """Open the bundle whose index is `prefix` + `.index`.

    Args:
        prefix: path without `.index`; may end in a slash, for an empty name.

    Raises:
        CkptkitError: the index is missing, malformed or does not match its checksums.
    """
    header, entries = read_index(prefix)
    return open_entries(prefix, header.num_shards, entries)


def open_entries(prefix: Address, count: int, entries: Mapping[bytes, BundleEntry]) -> tuple[Contents, BundleSource]:
    """As `open`, for entries that are known already, of a bundle of `count` data files."""
    shards = Shards(prefix, count)
    places = _Places(shards, entries).listed()
    source = BundleSource(shards, places)
    with ExitStack() as opened:
        opened.callback(source.close)
        graph, graph_damage = _read_graph(source, places)
        layout = _read_layout(source, places)
        opened.pop_all()
    meta_file = prefix.add(META_SUFFIX)
    meta = read_meta(meta_file) if meta_file.is_file() else NO_META
    notes = [*meta.notes, *(f"left over from an interrupted save: {name}" for name in leftovers(prefix))]
    contents = Contents(
        format="tensor-bundle",
        producer=meta.producer,
        # The layout is evidence of the others, not one of them.
        tensors=tuple(each for each in _tensors(places, graph, meta) if layout is None or each.key != BUNDLE_KEY),
        structure=graph,
        meta_graph=meta.graph,
        layout=layout,
        notes=tuple(notes),
        damage=(*_damage(places), *graph_damage),
    )
    return contents, source


def list_index(prefix: Address) -> tuple[Contents, dict[str, str]]:
    """What a bundle's index tells alone: its tensors, and the CRC-32C of each one's data.

    No other file is looked at, so it says the same wherever the index lies. Without the object graph, which is in the
    data, the names of an object-based checkpoint are the paths by which the saver reached its variables.

    Args:
        prefix: as for `open`.

    Returns:
        The contents, and key -> checksum in hexadecimal; of a partitioned variable the checksums of its parts.

    Raises:
        CkptkitError: the index is missing, malformed or does not match its checksums.
    """
    header, entries = read_index(prefix)
    places = _Places(_UnseenShards(prefix, header.num_shards), entries).listed()
    contents = Contents(
        format="tensor-bundle",
        producer=None,
        tensors=tuple(_tensors(places, None, NO_META)),
    )
    checksums = {key: "+".join(f"{unmask(entry.crc):08x}" for entry in place.entries) for key, place in places.items()}
    return contents, checksums


class _UnseenShards(Shards):
    """Data files that are elsewhere: nothing is known against them."""

    def problem(self, shard: int, end: int) -> None:  # noqa: ARG002
        return None


def read_index(prefix: Address) -> tuple[BundleHeader, dict[bytes, BundleEntry]]:
    """The header and all entries of a bundle, keys as they are stored, in their order.

    Raises:
        CkptkitError: the index is missing, malformed or does not match its checksums.
    """
    storage = prefix.add(INDEX_SUFFIX).open()
    try:
        with naming(storage.name):
            stored = read_entries(open_table(storage))
            key, value = next(stored, (None, b""))
            if key != HEADER_KEY:
                raise _no_header()
            header = parse_header(value)
            parser = EntryParser()
            entries = {}
            for key, value in stored:
                entries[key] = _parse_entry(parser, key, value)
    finally:
        storage.close()
    return header, entries


def read_header(prefix: Address) -> BundleHeader:
    """The header of a bundle alone, which its index begins with; raises as `read_index`."""
    storage = prefix.add(INDEX_SUFFIX).open()
    try:
        with naming(storage.name):
            key, value = next(read_entries(open_table(storage)), (None, b""))
            if key != HEADER_KEY:
                raise _no_header()
            return parse_header(value)
    finally:
        storage.close()


def _no_header() -> FormatError:
    return FormatError("the index has no bundle header", hint="Is it a V1 checkpoint named .index?")


def _parse_entry(parser: EntryParser, key: bytes, value: bytes) -> BundleEntry:
    try:
        return parser.parse(value)
    except CkptkitError as error:
        error.key = error.key or decode_key(key)
        raise


def decode_key(key: bytes) -> str:
    """A stored key as text; bytes that are not UTF-8 become escapes."""
    return key.decode("utf-8", "backslashreplace")


class _Places:
    """Turns entries into places, each with its problem."""

    def __init__(self, shards: Shards, entries: Mapping[bytes, BundleEntry]) -> None:
        self._shards = shards
        self._entries = entries

    def listed(self) -> dict[str, ValuePlace]:
        """Every tensor once: partitioned ones joined, in the order of the index."""
        consumed: set[bytes] = set()
        joined: dict[bytes, ValuePlace] = {}
        for key, entry in self._entries.items():
            if entry.slices:
                joined[key] = self._join(key, entry, consumed)
        places: dict[str, ValuePlace] = {}
        for key, entry in self._entries.items():
            if key in consumed:
                continue
            name = decode_key(key)
            if name in places:
                raise FormatError("two names of the index read the same", key=name)
            place = joined.get(key) or self._single(entry)
            if key[:1] == b"\0":
                place = place._replace(problem="it is a partition that no variable lists")
            places[name] = place
        for name in _overlapping(places):
            places[name] = places[name]._replace(problem="its bytes are also those of another variable")
        return places

    def _single(self, entry: BundleEntry) -> ValuePlace:
        row = dtypes.BY_TENSORFLOW.get(entry.dtype)
        shape = entry.shape or ()
        count = math.prod(shape)
        if row is None:
            name = _WITHOUT_DATA.get(entry.dtype, f"tensorflow-{entry.dtype}")
            return ValuePlace(
                name, 1, shape, max(entry.size, 0), (entry,), (), f"data of this type ({name}) is not read"
            )
        nbytes = count * row.itemsize or (0 if row.itemsize else max(entry.size, 0))
        problem = self._problem(entry, count, row.itemsize)
        return ValuePlace(row.name, row.itemsize, shape, nbytes, (entry,), (), problem)

    def _problem(self, entry: BundleEntry, count: int, itemsize: int) -> str | None:
        shape, shard, offset, size = entry.shape, entry.shard, entry.offset, entry.size
        if shape is None:
            return "its rank is not known"
        if len(shape) > MAX_RANK:
            return f"it has {len(shape)} dimensions (at most {MAX_RANK} are read)"
        if not 0 <= shard < self._shards.count:
            return f"it is said to be in shard {shard} of {self._shards.count}"
        if offset < 0 or size < 0:
            return f"its place in the shard is negative (offset {offset}, size {size})"
        if itemsize and size != count * itemsize:
            return f"its size does not fit its shape (expected {count * itemsize} bytes, found {size})"
        if not itemsize and size < count + 4:
            return f"its size does not fit its shape (expected at least {count + 4} bytes, found {size})"
        return self._shards.problem(shard, offset + size) if size else None

    def _join(self, key: bytes, entry: BundleEntry, consumed: set[bytes]) -> ValuePlace:
        """The place of a partitioned variable; the keys of its parts go to `consumed`."""
        whole = self._single(entry)
        entries: list[BundleEntry] = []
        parts: tuple[Partition, ...] = ()
        problem: str | None = None
        for extents in entry.slices:
            part_key = encode_slice_key(key, extents)
            part = self._entries.get(part_key)
            if part is None:
                problem = problem or f"partition {list(extents)} is missing"
                continue
            consumed.add(part_key)
            entries.append(part)
            problem = problem or self._single(part).problem
        if entry.shape is None or not whole.itemsize or entry.dtype not in dtypes.BY_TENSORFLOW:
            problem = "partitions of this type or shape are not read"
        if not problem:
            try:
                parts = infer_parts(entry.shape or (), entry.slices)
            except FormatError as error:
                problem = str(error)
        if not problem and any(
            part.dtype != entry.dtype or part.shape != extent.lengths
            for part, extent in zip(entries, parts, strict=True)
        ):
            problem = "a partition has another type or shape than the variable says"
        if len(set(entry.slices)) != len(entry.slices):
            problem = problem or "a partition is listed twice"
        return whole._replace(entries=tuple(entries), parts=parts, problem=problem)


def _overlapping(places: Mapping[str, ValuePlace]) -> set[str]:
    """Names of the tensors that claim bytes which another one claims too.

    No writer makes such, and a small file could declare any amount of data with them.
    """
    ranges = sorted(
        (entry.shard, entry.offset, entry.offset + entry.size, name)
        for name, place in places.items()
        if not place.problem
        for entry in place.entries
        if entry.size
    )
    found: set[str] = set()
    for (shard, _, end, name), (other_shard, begin, _, other) in pairwise(ranges):
        if shard == other_shard and begin < end:
            found |= {name, other}
    return found


def _read_graph(source: BundleSource, places: Mapping[str, ValuePlace]) -> tuple[ObjectGraph | None, tuple[str, ...]]:
    """The object graph, if there is one that can be read, and what is wrong with it."""
    place = places.get(GRAPH_KEY)
    if place is None or place.dtype != "string":
        return None, ()
    try:
        strings = source.read_strings(GRAPH_KEY)
        if len(strings) != 1:
            raise FormatError("not a single string", found=len(strings))
        return parse_object_graph(strings[0])
    except CkptkitError as error:
        return None, (f"the object graph cannot be read: {error.problem}",)


def _read_layout(source: BundleSource, places: Mapping[str, ValuePlace]) -> Layout | None:
    """The layout that travelled here, if there is one that can be read."""
    place = places.get(BUNDLE_KEY)
    if place is None or place.dtype != "string" or place.shape:
        return None
    try:
        return decode_layout(source.read_strings(BUNDLE_KEY)[0])
    except CkptkitError:
        return None


def _tensors(places: Mapping[str, ValuePlace], graph: ObjectGraph | None, meta: Meta) -> Iterator[StoredTensor]:
    full_names: dict[str, str] = {}
    for node in graph.nodes if graph else ():
        for attribute in node.attributes:
            if attribute.full_name and attribute.full_name != attribute.key:
                full_names.setdefault(attribute.key, attribute.full_name)
    trainable = {variable.name: variable.trainable for variable in meta.graph.variables} if meta.graph else {}
    for key, place in places.items():
        full_name = full_names.get(key)
        yield StoredTensor(
            key,
            place.shape,
            place.dtype,
            place.nbytes,
            (full_name,) if full_name else (),
            trainable.get(key if full_name is None else full_name),
            place.problem,
        )


def _damage(places: Mapping[str, ValuePlace]) -> Iterator[str]:
    """One line per kind of problem, with the number of tensors it concerns and the first of them.

    A handle or an iterator's state, which has no numbers in it, is no damage: only who wants it is refused.
    """
    concerned: dict[str, list[str]] = {}
    for key, place in places.items():
        if place.problem and place.dtype not in _WITHOUT_DATA.values():
            concerned.setdefault(_DETAIL.sub("", place.problem), []).append(key)
    for problem, keys in concerned.items():
        others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        yield f"{keys[0]}{others}: {problem}"
