"""Reading a whole checkpoint through the library, for comparison with what its framework reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptkit import dtypes
from ckptkit.formats import open_contents

if TYPE_CHECKING:
    from ckptkit.model import Contents, TensorSource


def read_value(source: TensorSource, tensor: Any, window: int = 1 << 16) -> np.ndarray:
    """The value of one tensor, streamed through a buffer of `window` bytes."""
    if tensor.dtype == "string":
        strings = np.empty(int(np.prod(tensor.shape)), dtype=object)
        strings[:] = source.read_strings(tensor.key)
        return strings.reshape(tensor.shape)
    buffer = memoryview(bytearray(window))
    data = b"".join(bytes(piece) for piece in source.stream(tensor.key, buffer))
    return np.frombuffer(data, dtypes.numpy_dtype(tensor.dtype)).reshape(tensor.shape)


def read_all(path: str | os.PathLike[str], window: int = 1 << 16) -> tuple[Contents, dict[str, np.ndarray]]:
    """Contents and all values of the checkpoint at `path`."""
    contents, source = open_contents(os.fspath(path))
    try:
        return contents, {tensor.key: read_value(source, tensor, window) for tensor in contents.tensors}
    finally:
        source.close()


def assert_same(found: np.ndarray, expected: Any) -> None:
    """Equal in shape, type and bits."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    if expected.dtype.kind in "OSU":
        assert found.tolist() == expected.tolist()
    else:
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
