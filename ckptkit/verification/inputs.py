"""Inputs that are right for a model: seeded, of each input's shape and dtype, in range where they are indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

# What a dimension without a size becomes: long enough for kernels and pools of usual nets, short enough to be quick.
_STEPS = 10  # time steps, tokens
_PIXELS = 32
_INTEGERS_WITHOUT_TABLE = 2  # 0 and 1 are valid as flags, masks and class numbers alike


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: as the framework calls it.
        shape: dimensions with the batch first; None where any size goes.
        dtype: NumPy's name; `string` for strings.
        limit: for integers, one more than the largest valid value (rows of the table they look up); None if unknown.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    limit: int | None = None

    def concrete(self, batch: int) -> tuple[int, ...]:
        """The shape with every open dimension filled in."""
        fill = _PIXELS if len(self.shape) >= 4 else _STEPS
        return tuple(
            size if size is not None else (batch if axis == 0 else fill) for axis, size in enumerate(self.shape)
        )


def make_inputs(specs: Sequence[InputSpec], *, seed: int, batch: int) -> list[np.ndarray]:
    """One array per input: normal for floats, uniform below the limit for integers, fair coins for booleans.

    Raises:
        UsageError: a string input, for which nothing sensible can be made up.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    made = []
    for spec in specs:
        shape = spec.concrete(batch)
        if spec.dtype == "string":
            raise UsageError("text inputs cannot be made up", key=spec.name, hint="Give them with --inputs data.npz.")
        kind = np.dtype(spec.dtype).kind
        if kind == "b":
            made.append(generator.integers(0, 2, shape).astype(bool))
        elif kind in "iu":
            made.append(generator.integers(0, spec.limit or _INTEGERS_WITHOUT_TABLE, shape).astype(spec.dtype))
        else:
            made.append(generator.standard_normal(shape).astype(spec.dtype))
    return made


def read_inputs(path: str, specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """Arrays from an `.npz` file: by input name, or in stored order when the names do not fit.

    Raises:
        UsageError: the number of arrays, a shape or a dtype does not fit the model.
        CkptkitError: the file cannot be read.
    """
    from ckptkit.formats.npz import open_npz
    from ckptkit.formats.storage import open_storage
    from ckptkit.model import read_tensor

    storage = open_storage(path)
    contents, source = open_npz(storage)
    try:
        arrays = {tensor.key: read_tensor(source, tensor) for tensor in contents.tensors}
    finally:
        source.close()
        storage.close()
    return fit_inputs(path, specs, arrays)


def fit_inputs(path: str, specs: Sequence[InputSpec], arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Named arrays in the order of `specs`; `path` is where they came from, for messages.

    Raises:
        UsageError: see `read_inputs`.
    """
    names = [spec.name for spec in specs]
    if len(arrays) != len(specs):
        raise UsageError("number of inputs", path=path, expected=", ".join(names), found=", ".join(arrays))
    chosen: Mapping[str, np.ndarray] = (
        arrays if set(names) == set(arrays) else dict(zip(names, arrays.values(), strict=True))
    )
    return [_fitting(path, spec, chosen[spec.name]) for spec in specs]


def _fitting(path: str, spec: InputSpec, array: np.ndarray) -> np.ndarray:
    import numpy as np

    fits = len(array.shape) == len(spec.shape) and all(
        wanted in (None, size) for wanted, size in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise UsageError("shape of an input", path=path, key=spec.name, expected=spec.shape, found=array.shape)
    if spec.dtype == "string":
        return array
    if not np.can_cast(array.dtype, spec.dtype, casting="same_kind"):
        raise UsageError("dtype of an input", path=path, key=spec.name, expected=spec.dtype, found=array.dtype.name)
    return array.astype(spec.dtype)
