"""Attributes of HDF5 objects, read within limits (IV.A.2.m, IV.A.2.v)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ckptkit.errors import CkptkitError, LimitError
from ckptkit.formats.hdf5 import messages as hdf5_messages
from ckptkit.formats.hdf5 import types as hdf5_types
from ckptkit.formats.hdf5.header import ATTRIBUTE, ATTRIBUTE_INFO, Message, read_header, read_shared
from ckptkit.formats.hdf5.heaps import FractalHeap, GlobalHeaps, read_tree_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckptkit.formats.hdf5.file import Hdf5File

# The largest attribute that Keras writes is an architecture; that of the largest public models is under 2 MB.
MAX_BYTES = 16 << 20
MAX_STRINGS = 1 << 20


def text(raw: bytes) -> str:
    r"""A name or value from the file as text: UTF-8, other bytes shown as `\\xff`."""
    return raw.decode("utf-8", "backslashreplace")


class Attributes:
    """The attributes of one object, their values read when asked for."""

    def __init__(self, file: Hdf5File, messages: Sequence[Message]) -> None:
        self._file = file
        self._bodies: dict[str, tuple[bytes, bytes, bytes]] = {}
        """Name -> datatype, dataspace and value, as they lie in the file."""
        for kind, body in messages:
            if kind == ATTRIBUTE:
                self._add(body)
            elif kind == ATTRIBUTE_INFO:
                at = 2 + 2 * (body[1] & 1)
                heap, tree = file.offset(body, at), file.offset(body, at + file.offset_size)
                if heap != file.undefined:
                    dense = FractalHeap(file, heap)
                    for record in read_tree_records(file, tree):
                        self._add(dense.read(record[:8]))

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._bodies)

    def strings(self, name: str) -> list[str] | None:
        """The strings of attribute `name`; empty for one without elements; None where there is none or not of strings.

        An empty list is often stored as an array of float64 (`np.asarray([])`).

        Raises:
            LimitError: it declares more than an attribute can need.
        """
        found = self._parsed(name)
        if found is None:
            return None
        stored, shape, data = found
        count = 0 if shape is None else math.prod(shape)
        if not count:
            return []
        if stored.dtype != "string":
            return None
        width = stored.itemsize
        if count * width > min(MAX_BYTES, len(data)) or count > MAX_STRINGS:
            raise LimitError(
                "an attribute that is too large",
                path=self._file.name,
                key=name,
                expected=f"{len(data)} bytes",
                found=count * width,
            )
        data = data[: count * width]
        if not stored.vlen:
            return [text(_unpadded(data[at : at + width], stored.padding)) for at in range(0, len(data), width)]
        strings, left = [], MAX_BYTES
        for item in GlobalHeaps(self._file).strings(data):
            left -= len(item)
            if left < 0:
                raise LimitError(
                    "an attribute that is too large", path=self._file.name, key=name, expected=f"{MAX_BYTES} bytes"
                )
            strings.append(text(item.split(b"\0", 1)[0]))
        return strings

    def string(self, name: str) -> str | None:
        """The first string of attribute `name`, or None."""
        found = self.strings(name)
        return found[0] if found else None

    def integer(self, name: str) -> int | None:
        """The one integer of attribute `name`, or None."""
        found = self._parsed(name)
        if found is None:
            return None
        stored, shape, data = found
        if shape is None or math.prod(shape) != 1 or "int" not in stored.dtype or stored.problem:
            return None
        signed = stored.dtype.startswith("int")
        return int.from_bytes(data[: stored.itemsize], "big" if stored.swapped else "little", signed=signed)

    def _add(self, body: bytes) -> None:
        file = self._file
        version = body[0] if len(body) >= 8 else 0
        if version not in (1, 2, 3):
            raise file.broken("broken attribute", expected="version 1 to 3", found=f"version {version}")
        flags = body[1] if version > 1 else 0
        lengths = [int.from_bytes(body[at : at + 2], "little") for at in (2, 4, 6)]
        at = 8 + (version == 3)
        parts = []
        for length in lengths:
            parts.append(body[at : at + length])
            at += -(-length // 8) * 8 if version == 1 else length
        if at > len(body):
            raise file.broken("an attribute that is cut short")
        name, datatype, space = parts
        if flags & 1:
            datatype = read_shared(file, datatype)
        self._bodies[text(name.rstrip(b"\0"))] = datatype, space, body[at:]

    def _parsed(self, name: str) -> tuple[hdf5_types.StoredType, tuple[int, ...] | None, bytes] | None:
        if name not in self._bodies:
            return None
        datatype, space, data = self._bodies[name]
        try:
            with self._file.parsing():
                extent = hdf5_messages.parse_extent(self._file, space)
                return hdf5_types.parse_type(datatype), None if extent is None else extent.shape, data
        except CkptkitError as error:
            error.path, error.key = self._file.name, name
            raise


def read_attributes(file: Hdf5File, address: int) -> Attributes:
    """The attributes of the object whose header is at `address`."""
    with file.parsing():
        return Attributes(file, read_header(file, address))


def _unpadded(item: bytes, padding: int) -> bytes:
    """A string of fixed length without what fills it up; NumPy's bytes are padded with NULs in every case."""
    return item.rstrip(b" ") if padding == 2 else item.split(b"\0", 1)[0]
