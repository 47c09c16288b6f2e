"""Writing a tensor bundle: a new one, or one like a template in which named tensors have other data.

Data is written in the order of the keys, a piece at a time, its checksum taken on the way; the index, without which
nothing is a bundle, comes last. What is written lies at the path that is given: whether that is a temporary one, and
what becomes of it, is the caller's matter.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ckptkit import dtypes
from ckptkit.errors import NotFoundError, RefusedError, UnsupportedError, WriteError
from ckptkit.formats.names import INDEX_SUFFIX, shard_path
from ckptkit.formats.tensor_bundle.data_file import Copied, Item, Made, New, Partitioned, write_items
from ckptkit.formats.tensor_bundle.entries import HEADER_KEY, BundleEntry, encode_entry, encode_header
from ckptkit.formats.tensor_bundle.object_graph import GRAPH_KEY, encode_object_graph
from ckptkit.formats.tensor_bundle.reader import decode_key, read_index
from ckptkit.formats.tensor_bundle.slices import encode_slice_key, infer_parts
from ckptkit.formats.tensor_bundle.source import Shards
from ckptkit.formats.tensor_bundle.table_writer import encode_table
from ckptkit.model import Contents, ObjectGraph, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.formats.tensor_bundle.data_file import Entries


class Outline(NamedTuple):
    """All that is to be in a bundle.

    Attributes:
        items: what has data, in the order of the keys.
        partitioned: entries of the variables whose data is that of their parts.
        template: prefix of the bundle that is copied from and its number of shards, or None.
    """

    items: Sequence[Item]
    partitioned: Entries
    template: tuple[str, int] | None


def write_bundle(prefix: str, contents: Contents, source: TensorSource, *, num_shards: int = 1) -> None:
    """Write all tensors of `contents` as the bundle `prefix`.

    It is object-based when `contents.structure` is an `ObjectGraph`: the graph that `contents` holds as a tensor is
    written as it is, otherwise one is made from the structure.

    Args:
        prefix: path without `.index`.
        contents: keys, shapes and types; keys are written as they are.
        source: where the data is read from, by `StoredTensor.key`.
        num_shards: number of data files; all data is in the last, the others are empty. A caller who replaces a bundle
            takes a number that it has not, so that the old one stays whole until the index is replaced.

    Raises:
        UnsupportedError: a type that bundles do not have.
        CkptkitError: what `source` raises.
    """
    _write(prefix, num_shards, outline_new(prefix, contents), source)


def rewrite_bundle(
    prefix: str,
    template_prefix: str,
    tensors: Mapping[str, TensorSpec],
    source: TensorSource,
    *,
    num_shards: int = 1,
) -> None:
    """Write the bundle `prefix`: all that `template_prefix` holds, with the data of `tensors` in the place of its own.

    Partitioned variables stay partitioned as they are, and so does the object graph.

    Args:
        prefix: path without `.index`.
        template_prefix: the template's.
        tensors: key in the template -> what `source` has for it: its name there, shape and type.
        source: where the new data is read from, by `TensorSpec.name`.
        num_shards: as in `write_bundle`.

    Raises:
        NotFoundError: the template has no such key.
        RefusedError: shape or type are not the template's.
        CkptkitError: what is kept of the template cannot be read, or what `source` raises.
    """
    _write(prefix, num_shards, outline_like(template_prefix, tensors), source)


def outline_new(prefix: str, contents: Contents) -> Outline:
    """What `write_bundle` writes."""
    specs = {tensor.key: TensorSpec(tensor.key, tensor.shape, tensor.dtype) for tensor in contents.tensors}
    if len(specs) != len(contents.tensors):
        raise WriteError("two tensors of one key", path=prefix)
    items: list[New | Made] = [New(_encode_key(name), spec) for name, spec in specs.items()]
    if isinstance(contents.structure, ObjectGraph) and GRAPH_KEY not in specs:
        items.append(Made(_encode_key(GRAPH_KEY), encode_object_graph(contents.structure)))
    in_order = sorted(items, key=lambda item: item.key)
    return Outline(in_order, [], None)


def outline_like(template_prefix: str, tensors: Mapping[str, TensorSpec]) -> Outline:
    """What `rewrite_bundle` writes."""
    header, entries = read_index(template_prefix)
    names = {decode_key(key): key for key in entries}
    replaced = {}
    for name, spec in tensors.items():
        if name not in names:
            raise NotFoundError("the template has no such variable", path=template_prefix, key=name)
        _check_fit(template_prefix, name, entries[names[name]], spec)
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
    return Outline(items, partitioned, (template_prefix, header.num_shards))


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


def _write(prefix: str, num_shards: int, outline: Outline, source: TensorSource) -> None:
    """All data into the last file, then the index."""
    with ExitStack() as files:
        for shard in range(num_shards - 1):
            files.enter_context(Path(shard_path(prefix, shard, num_shards)).open("wb"))
        data = files.enter_context(Path(shard_path(prefix, num_shards - 1, num_shards)).open("wb"))
        template = files.enter_context(closing(Shards(*outline.template))) if outline.template else None
        entries = write_items(data, num_shards - 1, outline.items, source, template)
    write_index(prefix, num_shards, [*entries, *outline.partitioned])


def write_index(prefix: str, num_shards: int, entries: Iterable[tuple[bytes, BundleEntry]]) -> None:
    """Write the index, without which nothing is a bundle."""
    rows = [(key, encode_entry(entry)) for key, entry in sorted(entries, key=lambda item: item[0])]
    with Path(prefix + INDEX_SUFFIX).open("wb") as index:
        for block in encode_table([(HEADER_KEY, encode_header(num_shards)), *rows]):
            index.write(block)
