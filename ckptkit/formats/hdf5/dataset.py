"""What is known of a dataset before any of its data are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.formats.hdf5 import messages as hdf5_messages
from ckptkit.formats.hdf5 import types as hdf5_types
from ckptkit.formats.hdf5.attributes import Attributes
from ckptkit.formats.hdf5.header import (
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILL_VALUE,
    FILTERS,
    LAYOUT,
    OLD_FILL_VALUE,
    Message,
)
from ckptkit.model import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.formats.hdf5.file import Hdf5File
    from ckptkit.formats.hdf5.messages import Filter, Layout
    from ckptkit.formats.hdf5.types import StoredType


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset.

    Attributes:
        key: its path without leading slash.
        address: of its object header.
        shape: its dimensions.
        type: how an element lies in the file.
        layout: where the elements lie.
        offset: where they begin in the storage when they lie there in one piece; else None.
        filters: what its chunks went through, in the order of writing.
        fill: one element as the file has it, for what was never written; empty for zeros.
        problem: why it cannot be read, or None.
        limits: what the dimensions may become, None for any size.
    """

    key: str
    address: int
    shape: tuple[int, ...]
    type: StoredType
    layout: Layout
    offset: int | None = None
    filters: tuple[Filter, ...] = ()
    fill: bytes = b""
    problem: str | None = None
    limits: tuple[int | None, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all elements as they are stored; of the references to them for strings of variable length."""
        return math.prod(self.shape) * self.type.itemsize

    def tensor(self, aliases: tuple[str, ...] = ()) -> StoredTensor:
        """What the format hands over for it."""
        nbytes = (
            self.nbytes if self.type.dtype == "string" else math.prod(self.shape) * dtypes.itemsize(self.type.dtype)
        )
        return StoredTensor(self.key, self.shape, self.type.dtype, nbytes, aliases=aliases, problem=self.problem)


def is_dataset(messages: Sequence[Message]) -> bool:
    """Whether an object header is that of a dataset."""
    return any(message.kind == LAYOUT for message in messages)


def read_dataset(
    file: Hdf5File, key: str, address: int, messages: Sequence[Message], types: dict[bytes, StoredType]
) -> Dataset:
    """The dataset with these header messages.

    Args:
        file: that it is in.
        key: its path.
        address: of its object header.
        messages: of that header.
        types: datatype messages that were parsed before; gains this one.

    Raises:
        FormatError: a message is missing or broken.
    """
    found = {message.kind: message.body for message in messages}
    if DATATYPE not in found or DATASPACE not in found:
        raise file.broken("a dataset without datatype or extent")
    stored = types.get(found[DATATYPE])
    if stored is None:
        stored = types[found[DATATYPE]] = hdf5_types.parse_type(found[DATATYPE])
    if stored.opaque:
        stored = hdf5_types.with_dtype_attribute(stored, Attributes(file, messages).string("dtype"))
    layout = hdf5_messages.parse_layout(file, found[LAYOUT])
    extent = hdf5_messages.parse_extent(file, found[DATASPACE])
    if extent is None:
        return Dataset(key, address, (0,), stored, layout, problem="has no value (its extent is null)")
    shape = extent.shape
    if layout.kind == hdf5_messages.VIRTUAL:
        return Dataset(key, address, shape, stored, layout, problem="a virtual dataset: its data lie in other files")
    if EXTERNAL_FILES in found:
        return Dataset(key, address, shape, stored, layout, problem="external storage: its data lie in another file")
    if layout.kind == hdf5_messages.CONTIGUOUS and layout.address is not None:
        offset = file.at(layout.address)
        return Dataset(
            key,
            address,
            shape,
            stored,
            layout,
            offset,
            problem=stored.problem or _range_problem(file, shape, stored, layout),
        )
    filters = hdf5_messages.parse_filters(file, found[FILTERS]) if FILTERS in found else ()
    problem = stored.problem
    if layout.kind == hdf5_messages.COMPACT:
        needed = math.prod(shape) * stored.itemsize
        if problem is None and needed > len(layout.data):
            problem = f"needs {needed} bytes, its header holds {len(layout.data)}"
    elif layout.chunk is not None and (len(layout.chunk) != len(shape) or not all(layout.chunk)):
        problem = f"chunks of {layout.chunk} in {len(shape)} dimensions"
    fill = _fill(file, found, stored)
    return Dataset(key, address, shape, stored, layout, None, filters, fill, problem, extent.limits)


def _range_problem(file: Hdf5File, shape: tuple[int, ...], stored: StoredType, layout: Layout) -> str | None:
    """Why data that lie in one piece cannot be read: they are not all in the file, or of another size."""
    needed = math.prod(shape) * stored.itemsize
    held = needed if layout.size < 0 else layout.size
    offset = file.at(layout.address or 0)
    if held < needed or offset + needed > file.storage.size:
        return f"needs {needed} bytes at {offset}, the file holds {max(0, min(held, file.storage.size - offset))}"
    return None


def _fill(file: Hdf5File, found: dict[int, bytes], stored: StoredType) -> bytes:
    if FILL_VALUE in found:
        fill = hdf5_messages.parse_fill_value(file, found[FILL_VALUE])
    else:
        fill = hdf5_messages.parse_old_fill_value(found.get(OLD_FILL_VALUE, b""))
    return fill if len(fill) == stored.itemsize else b""
