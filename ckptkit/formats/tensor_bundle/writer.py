"""Writing a tensor bundle: a new one, or one like a template in which named tensors have other data.

Data is written in the order of the keys, a piece at a time, its checksum taken on the way; the index, without which
nothing is a bundle, comes last. What is written lies at the path that is given: whether that is a temporary one, and
what becomes of it, is the caller's matter.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ckptkit import dtypes
from ckptkit.errors import ChecksumError, FormatError, NotFoundError, RefusedError, UnsupportedError, WriteError
from ckptkit.formats.names import INDEX_SUFFIX, shard_path
from ckptkit.formats.scratch import hold
from ckptkit.formats.storage import Storage, read
from ckptkit.formats.tensor_bundle.checksum import crc32c, mask, unmask
from ckptkit.formats.tensor_bundle.entries import HEADER_KEY, BundleEntry, encode_entry, encode_header
from ckptkit.formats.tensor_bundle.object_graph import GRAPH_KEY, encode_object_graph
from ckptkit.formats.tensor_bundle.reader import decode_key, read_index
from ckptkit.formats.tensor_bundle.slices import Part, encode_slice_key, infer_parts, part_pieces
from ckptkit.formats.tensor_bundle.source import Shards
from ckptkit.formats.tensor_bundle.strings import encode_strings, parse_strings
from ckptkit.formats.tensor_bundle.table_writer import encode_table
from ckptkit.formats.wire import naming
from ckptkit.model import WRITE_BYTES, Contents, ObjectGraph, TensorSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


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
    specs = {tensor.key: TensorSpec(tensor.key, tensor.shape, tensor.dtype) for tensor in contents.tensors}
    if len(specs) != len(contents.tensors):
        raise WriteError("two tensors of one key", path=prefix)
    made: dict[str, bytes] = {}
    if isinstance(contents.structure, ObjectGraph) and GRAPH_KEY not in specs:
        specs[GRAPH_KEY] = TensorSpec(GRAPH_KEY, (), "string")
        made[GRAPH_KEY] = encode_object_graph(contents.structure)
    with _writing(prefix, num_shards) as output:
        for key, spec in sorted((_encode_key(name), spec) for name, spec in specs.items()):
            if spec.name in made:
                output.add_strings(key, spec.shape, [made[spec.name]])
            else:
                output.add(key, spec, source)


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
    header, entries = read_index(template_prefix)
    names = {decode_key(key): key for key in entries}
    replaced = {}
    for name, spec in tensors.items():
        if name not in names:
            raise NotFoundError("the template has no such variable", path=template_prefix, key=name)
        _check_fit(template_prefix, name, entries[names[name]], spec)
        replaced[names[name]] = spec
    owner = {
        encode_slice_key(key, extents): (key, place)
        for key, entry in entries.items()
        if key in replaced
        for place, extents in enumerate(entry.slices)
    }
    with (
        closing(Shards(template_prefix, header.num_shards)) as shards,
        _writing(prefix, num_shards) as output,
        closing(_Whole(source)) as whole,
    ):
        for key, entry in entries.items():
            if entry.slices:
                output.add_sliced(key, entry)
            elif key in owner:
                variable, place = owner[key]
                spec = replaced[variable]
                parts = infer_parts(spec.shape, entries[variable].slices)
                part_spec = TensorSpec(spec.name, parts[place].lengths, spec.dtype)
                output.add_pieces(key, part_spec, whole.pieces(spec, parts[place]))
            elif key in replaced:
                output.add(key, replaced[key], source)
            else:
                with naming(template_prefix, decode_key(key)):
                    output.copy(key, entry, shards)


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


@contextmanager
def _writing(prefix: str, num_shards: int) -> Iterator[_Output]:
    """Data files to write into; the index is written when the block ends well."""
    with ExitStack() as files:
        for shard in range(num_shards - 1):
            files.enter_context(Path(shard_path(prefix, shard, num_shards)).open("wb"))
        data = files.enter_context(Path(shard_path(prefix, num_shards - 1, num_shards)).open("wb"))
        output = _Output(data, num_shards - 1)
        yield output
    with Path(prefix + INDEX_SUFFIX).open("wb") as index:
        for block in encode_table([(HEADER_KEY, encode_header(num_shards)), *output.index()]):
            index.write(block)


class _Output:
    """The data file that is being written, and the entries of what is in it."""

    def __init__(self, file: BinaryIO, shard: int) -> None:
        self._file = file
        self._shard = shard
        self._offset = 0
        self._entries: list[tuple[bytes, BundleEntry]] = []

    def index(self) -> Iterable[tuple[bytes, bytes]]:
        """Keys and encoded entries, in order of the keys."""
        return [(key, encode_entry(entry)) for key, entry in sorted(self._entries, key=lambda item: item[0])]

    def add(self, key: bytes, spec: TensorSpec, source: TensorSource) -> None:
        """A tensor with its data from `source`."""
        if spec.dtype == "string":
            self.add_strings(key, spec.shape, source.read_strings(spec.name))
        else:
            buffer = memoryview(bytearray(min(WRITE_BYTES, max(spec.nbytes, 1))))
            self.add_pieces(key, spec, source.stream(spec.name, buffer))

    def add_pieces(self, key: bytes, spec: TensorSpec, pieces: Iterable[memoryview]) -> None:
        """A tensor with its data in pieces."""
        row = dtypes.BY_NAME.get(spec.dtype)
        if row is None or row.tensorflow is None:
            raise UnsupportedError("a type that TensorFlow's checkpoints do not have", key=spec.name, found=spec.dtype)
        size = crc = 0
        for piece in pieces:
            self._file.write(piece)
            crc = crc32c(piece, crc)
            size += len(piece)
        if size != spec.nbytes:
            raise WriteError(
                "the data does not fit the shape", key=spec.name, expected=f"{spec.nbytes} bytes", found=size
            )
        self._note(key, row.tensorflow, spec.shape, size, mask(crc))

    def add_strings(self, key: bytes, shape: tuple[int, ...], strings: list[bytes]) -> None:
        """A tensor of strings."""
        if len(strings) != math.prod(shape):
            raise WriteError("the strings do not fit the shape", expected=math.prod(shape), found=len(strings))
        stored, crc = encode_strings(strings)
        self._file.write(stored)
        self._note(key, dtypes.BY_NAME["string"].tensorflow or 0, shape, len(stored), crc)

    def add_sliced(self, key: bytes, entry: BundleEntry) -> None:
        """The entry of a partitioned variable, whose parts have data of their own."""
        self._entries.append((key, entry))

    def copy(self, key: bytes, entry: BundleEntry, shards: Shards) -> None:
        """An entry of another bundle, its bytes as they are once their checksum holds."""
        row = dtypes.BY_TENSORFLOW.get(entry.dtype)
        if entry.shape is None or entry.offset < 0 or entry.size < 0 or not 0 <= entry.shard < shards.count:
            raise FormatError("its entry in the template is malformed")
        problem = shards.problem(entry.shard, entry.offset + entry.size) if entry.size else None
        if problem:
            raise FormatError(problem)
        if row is not None and not row.itemsize:
            stored = read(shards.open(entry.shard), entry.offset, entry.size)
            parse_strings(stored, math.prod(entry.shape), entry.crc)
            self._file.write(stored)
        else:
            crc = 0
            for piece in _stored_pieces(shards.open(entry.shard), entry) if entry.size else ():
                self._file.write(piece)
                crc = crc32c(piece, crc)
            # Variants have a checksum of their own kind, which goes along as it is.
            if row is not None and crc != unmask(entry.crc):
                raise ChecksumError(
                    "the data does not match its checksum",
                    expected=f"crc32c {unmask(entry.crc):08x}",
                    found=f"{crc:08x}",
                )
        self._note(key, entry.dtype, entry.shape, entry.size, entry.crc)

    def _note(self, key: bytes, dtype: int, shape: tuple[int, ...], size: int, crc: int) -> None:
        self._entries.append((key, BundleEntry(dtype, shape, self._shard, self._offset, size, crc)))
        self._offset += size


def _stored_pieces(storage: Storage, entry: BundleEntry) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(WRITE_BYTES, entry.size)))
    for at in range(entry.offset, entry.offset + entry.size, WRITE_BYTES):
        piece = buffer[: min(len(buffer), entry.offset + entry.size - at)]
        storage.read_into(at, piece)
        yield piece


class _Whole:
    """The last tensor that was to be cut into partitions, whole and verified, in memory or in a temporary file."""

    def __init__(self, source: TensorSource) -> None:
        self._source = source
        self._name: str | None = None
        self._value: Storage | None = None

    def pieces(self, spec: TensorSpec, part: Part) -> Iterator[memoryview]:
        """The bytes of a part of tensor `spec`, in order."""
        if self._value is None or self._name != spec.name:
            self.close()
            buffer = memoryview(bytearray(min(WRITE_BYTES, max(spec.nbytes, 1))))
            pieces = (bytes(piece) for piece in self._source.stream(spec.name, buffer))
            self._name, self._value = spec.name, hold(spec.name, spec.nbytes, pieces)
        buffer = memoryview(bytearray(WRITE_BYTES))
        yield from part_pieces(part, spec.shape, dtypes.itemsize(spec.dtype), self._value.read_into, buffer)

    def close(self) -> None:
        """Forget it."""
        if self._value is not None:
            self._value.close()
        self._value = None
