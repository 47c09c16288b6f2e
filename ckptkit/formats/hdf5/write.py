"""Writing HDF5: the library makes the structure, the elements are written into their places.

Only files of our own and copies of templates are handed to the library here, the latter for data that do not lie in one
piece (compressed chunks); such a template has passed our own reader first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from ckptkit import dtypes
from ckptkit.errors import UnsupportedError
from ckptkit.formats.hdf5.fill import fill
from ckptkit.formats.hdf5.library import library
from ckptkit.model import StoredTensor, TensorSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# An attribute has to fit into an object header: `HDF5_OBJECT_HEADER_LIMIT` in keras.src.legacy.saving.legacy_h5_format.
_ATTRIBUTE_LIMIT_BYTES = 64512


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to be written, its attributes, and tensors at or below it (by their whole keys)."""

    path: str
    attributes: Mapping[str, str | bytes | np.ndarray] = field(default_factory=dict)
    tensors: Sequence[StoredTensor] = ()


def split_names(name: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Attributes that hold a list of names, as Keras splits it: `name`, or `name0`, `name1`, … when it is too long.

    Raises:
        UnsupportedError: a single name is too long for an attribute.
    """
    encoded = np.array([item.encode("utf-8", "backslashreplace") for item in names] or np.empty(0, "S1"))
    fitting = _ATTRIBUTE_LIMIT_BYTES // max(1, encoded.itemsize)
    if not fitting:
        raise UnsupportedError("a name that is too long for HDF5", key=max(names, key=len)[:100])
    if len(encoded) <= fitting:
        return {name: encoded}
    parts = -(-len(encoded) // fitting)
    return {f"{name}{part}": encoded[part * fitting : (part + 1) * fitting] for part in range(parts)}


def write_file(path: str, groups: Iterable[NewGroup], source: TensorSource) -> None:
    """Write a new file with `groups` in their order, each tensor plainly in one piece, its bytes from `source`.

    Raises:
        WriteError: it cannot be written, or one name would be a group and a tensor.
        UnsupportedError: strings that HDF5 cannot hold.
    """
    keys: list[str] = []
    with library(path), h5py.File(path, "w") as file:
        for group in groups:
            made = file.require_group(group.path or "/")
            for name, value in group.attributes.items():
                made.attrs[name] = value
            for tensor in group.tensors:
                _create(file, tensor)
                keys.append(tensor.key)
    fill(path, keys, source)


def _create(file: h5py.File, tensor: StoredTensor) -> None:
    """Make room for a tensor: in one piece, allocated at once, not filled."""
    parent, _, name = tensor.key.rpartition("/")
    group = file.require_group(parent or "/")
    if tensor.dtype == "string":
        group.create_dataset(name, tensor.shape, h5py.string_dtype())
        return
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # the same content is the same bytes, whoever writes it and when
    stored = dtypes.numpy_dtype(tensor.dtype)
    opaque = stored.kind == "V" or dtypes.BY_NAME[tensor.dtype].numpy != tensor.dtype
    kind = h5t.py_create(np.dtype(f"V{stored.itemsize}") if opaque else stored, logical=True)
    space = h5s.create_simple(tensor.shape) if tensor.shape else h5s.create(h5s.SCALAR)
    made = h5py.Dataset(h5d.create(group.id, name.encode(), kind, space, properties))
    if opaque:  # as Keras 3 keeps bfloat16: keras.src.saving.saving_lib, `H5IOStore.__setitem__`
        made.attrs["dtype"] = tensor.dtype
