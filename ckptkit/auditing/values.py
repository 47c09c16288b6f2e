"""Values that tell variables apart: taken, given and put back.

Every measurement writes to variables. The values that were there are read first and put back at the end, so the
model is left as it was found.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptkit import dtypes
from ckptkit.frameworks import dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Positive and away from zero: sums of positive inputs and positive weights keep every ReLU open, and no gradient is
# zero by accident (a head that starts at zero hides everything below it).
_LOW, _HIGH = 0.05, 0.15


def read(variable: Any) -> np.ndarray:
    """The value of a `tf.Variable`, or of Keras's on another backend, copied."""
    return np.array(variable.numpy())


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two values are the same bits (NaN equals itself)."""
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()


def content(value: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What two tensors have in common when their shapes and bits are equal, small enough to keep for all of a file."""
    return value.shape, hashlib.sha256(value.tobytes()).digest()


def mark(variables: Iterable[Any], seed: int) -> list[np.ndarray]:
    """Give every variable a value of its own that depends on `seed` and its place; the values as stored.

    Variables of strings, of which models have none that count as weights, keep theirs.
    """
    values = []
    for index, variable in enumerate(variables):
        marked = _value(variable, np.random.default_rng((seed, index)), index + seed)
        if marked is not None:
            variable.assign(marked)
        values.append(read(variable))
    return values


def _value(variable: Any, generator: np.random.Generator, ordinal: int) -> np.ndarray | None:
    name, shape = dtype_name(variable), tuple(variable.shape)
    if name == "bool":
        return np.full(shape, ordinal % 2 == 0)
    if name.startswith(("float", "bfloat", "complex")):
        return generator.uniform(_LOW, _HIGH, shape).astype(_numpy_dtype(variable))
    if name.startswith(("int", "uint", "qint", "quint")):
        return np.full(shape, ordinal % 120 + 1).astype(_numpy_dtype(variable))
    return None


def _numpy_dtype(variable: Any) -> Any:
    dtype = variable.dtype
    return dtypes.numpy_dtype(dtype).newbyteorder("=") if isinstance(dtype, str) else dtype.as_numpy_dtype


@contextmanager
def preserved(variables: Iterable[Any]) -> Iterator[None]:
    """Put back the variables' values, and the states of Python's and NumPy's global random generators, afterwards."""
    kept = [(variable, read(variable)) for variable in variables]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for variable, value in kept:
            variable.assign(value)
