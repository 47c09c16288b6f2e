"""Writing a tensor bundle: a new one, or one like a template in which named tensors have other data.

Data is written in the order of the keys, a piece at a time, its checksum taken on the way; the index, without which
nothing is a bundle, comes last.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import NotFoundError, RefusedError, UnsupportedError, WriteError
from ckptkit.formats.layout import BUNDLE_KEY, encode_layout
from ckptkit.formats.parts import Outline, divided, shard_count
from ckptkit.formats.registry import BUNDLE, named
from ckptkit.formats.tensorflow.bundle.data_file import Copied, Item, Made, New, Partitioned, write_items
from ckptkit.formats.tensorflow.bundle.entries import HEADER_KEY, BundleEntry, encode_entry, encode_header
from ckptkit.formats.tensorflow.bundle.object_graph import GRAPH_KEY, encode_object_graph
from ckptkit.formats.tensorflow.bundle.reader import decode_key, open_entries, read_index
from ckptkit.formats.tensorflow.bundle.slices import encode_slice_key, infer_parts
from ckptkit.formats.tensorflow.bundle.source import Shards
from ckptkit.formats.tensorflow.bundle.table_writer import encode_table
from ckptkit.formats.tensorflow.names import INDEX_SUFFIX, shard_name
from ckptkit.model import Contents, ObjectGraph, TensorSource, TensorSpec
from ckptkit.storage.address import Address, address
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.formats.tensorflow.bundle.data_file import Entries


@dataclass(frozen=True, slots=True)
class BundlePart:
    """One data file; see `Part`."""

    name: str
    number: int
    count: int
    items: tuple[Item, ...]
    partitioned: tuple[tuple[bytes, BundleEntry], ...]
    """Entries of the variables whose data is that of parts here."""
    template: tuple[Address, int] | None
    """Prefix of the bundle that is copied from and its number of data files."""

    @property
    def keys(self) -> Sequence[str]:
        """See `Part.keys`."""
        return [item.spec.name for item in self.items if isinstance(item, New | Partitioned)]

    @property
    def nbytes(self) -> int:
        """See `Part.nbytes`."""
        return sum(item.nbytes for item in self.items)

    def write(self, path: str, source: TensorSource) -> Entries:
        """See `Part.write`; gives the entries for the index."""
        template = closing(Shards(*self.template)) if self.template else nullcontext()
        with writing(path), Path(path).open("wb") as file, template as copied:
            return write_items(file, self.number, self.items, source, copied)

    def open(self, path: str, written: Entries) -> tuple[Contents, TensorSource]:
        """See `Part.open`: by its entries, as the index will have them."""
        prefix = address(path).without(shard_name("", self.number, self.count))
        entries = dict(sorted([*written, *self.partitioned], key=itemgetter(0)))
        return open_entries(prefix, self.count, entries)


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002, ARG001
    """What a new bundle is made of.

    It is object-based when `contents.structure` is an `ObjectGraph`: the graph that `contents` holds as a tensor is
    written as it is, otherwise one is made from the structure.

    Args:
        format: the one there is.
        contents: keys, shapes and types; keys are written as they are.
        final: the prefix that it gets in the end; its data files take names that are free there, so that a bundle that is
            replaced stays whole until its index is.
        workers: how many there are to write.

    Raises:
        UnsupportedError: a type that bundles do not have.
    """
    specs = {tensor.key: TensorSpec(tensor.key, tensor.shape, tensor.dtype) for tensor in contents.tensors}
    if len(specs) != len(contents.tensors):
        raise WriteError("two tensors of one key", path=final)
    items: list[New | Made] = [New(_encode_key(name), spec) for name, spec in specs.items()]
    if isinstance(contents.structure, ObjectGraph) and GRAPH_KEY not in specs:
        items.append(Made(_encode_key(GRAPH_KEY), encode_object_graph(contents.structure)))
    if contents.layout is not None and BUNDLE_KEY not in specs:
        items.append(Made(_encode_key(BUNDLE_KEY), encode_layout(contents.layout).encode()))
    items.sort(key=lambda item: item.key)
    return _outline(items, [], None, final, workers)


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:
    """What a copy of the bundle `template` is made of, with the data of `tensors` in the place of its own.

    Partitioned variables stay partitioned as they are, and so does the object graph.

    Args:
        template: the template's prefix.
        tensors: key in the template -> what the source has for it: its name there, shape and type.
        final: as for `outline_new`.
        workers: as for `outline_new`.

    Raises:
        NotFoundError: the template has no such key.
        RefusedError: shape or type are not the template's.
        CkptkitError: what is kept of the template cannot be read.
    """
    header, entries = read_index(template)
    names = {decode_key(key): key for key in entries}
    replaced = {}
    for name, spec in tensors.items():
        if name not in names:
            raise NotFoundError("the template has no such variable", path=template, key=name)
        _check_fit(template.text, name, entries[names[name]], spec)
        replaced[names[name]] = spec
    owner = {
        encode_slice_key(key, extents): key
        for key, entry in entries.items()
        if key in replaced
        for extents in entry.slices
    }
    items: list[Item] = []
    begun: set[bytes] = set()
    for key, entry in entries.items():
        if entry.slices:
            continue
        variable = owner.get(key)
        if variable is None:
            items.append(New(key, replaced[key]) if key in replaced else Copied(key, entry))
        elif variable not in begun:
            begun.add(variable)
            spec, slices = replaced[variable], entries[variable].slices
            keys = [encode_slice_key(variable, extents) for extents in slices]
            items.append(Partitioned(spec, tuple(zip(keys, infer_parts(spec.shape, slices), strict=True))))
    partitioned = [(key, entry) for key, entry in entries.items() if entry.slices]
    return _outline(items, partitioned, (template, header.num_shards), final, workers)


def _outline(
    items: Sequence[Item], partitioned: Entries, template: tuple[Address, int] | None, final: Address, workers: int
) -> Outline:
    """Data files of neighbours, about equal in size, and the index last."""
    if template is not None:  # read by every worker that copies from it, wherever it works
        template = template[0].absolute(), template[1]
    wanted = shard_count(sum(item.nbytes for item in items), workers)
    count = named(BUNDLE).made_of.free_count(final, at_least=min(wanted, max(len(items), 1)))
    groups = divided(items, count, lambda item: item.nbytes)
    owner = {encode_slice_key(key, extents): (key, entry) for key, entry in partitioned for extents in entry.slices}
    parts = []
    for number, group in enumerate(groups):
        whole = tuple(owner[item.parts[0][0]] for item in group if isinstance(item, Partitioned))
        copied = any(isinstance(item, Copied) for item in group)
        name = shard_name(final.base, number, count)
        parts.append(BundlePart(name, number, count, tuple(group), whole, template if copied else None))
    return Outline(parts, partial(_finish, count, partitioned))


def _finish(count: int, partitioned: Entries, path: str, written: Sequence[Entries]) -> None:
    entries = [entry for found in written for entry in found]
    with writing(path):
        write_index(path, count, [*entries, *partitioned])


def _check_fit(path: str, name: str, entry: BundleEntry, spec: TensorSpec) -> None:
    row = dtypes.BY_NAME.get(spec.dtype)
    if row is None or row.tensorflow != entry.dtype:
        found = dtypes.BY_TENSORFLOW.get(entry.dtype)
        raise RefusedError(
            "another type than the template's", path=path, key=name, expected=found.name if found else entry.dtype,
            found=spec.dtype,
        )  # fmt: skip
    if spec.shape != entry.shape:
        raise RefusedError(
            "another shape than the template's", path=path, key=name, expected=entry.shape, found=spec.shape
        )


def _encode_key(name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    if not key or key.startswith(b"\0"):
        raise UnsupportedError("not a name that a bundle can hold", key=name or "''")
    return key


def write_index(prefix: str, num_shards: int, entries: Iterable[tuple[bytes, BundleEntry]]) -> None:
    """Write the index, without which nothing is a bundle."""
    rows = [(key, encode_entry(entry)) for key, entry in sorted(entries, key=lambda item: item[0])]
    with Path(prefix + INDEX_SUFFIX).open("wb") as index:
        for block in encode_table([(HEADER_KEY, encode_header(num_shards)), *rows]):
            index.write(block)
