"""Inputs that are right for a model: seeded, of each input's shape and dtype, in range where they are indices.

A ragged input is two arrays, as a file has it: `x/values` and `x/row_splits`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.errors import UsageError
from ckptkit.inputs import SPLITS, VALUES, ragged_names, read_arrays

if TYPE_CHECKING:
    import numpy as np

# What a dimension without a size becomes: long enough for kernels and pools of usual nets, short enough to be quick.
_STEPS = 10  # time steps, tokens
_PIXELS = 32
_INTEGERS_WITHOUT_TABLE = 2  # 0 and 1 are valid as flags, masks and class numbers alike
_WORDS = ("the", "one", "2")  # texts of models that do not tell their words
_LONGEST_TEXT = 4  # words
_RAGGED = (3, 1, 4, 2)  # lengths of ragged rows, over and over: batches of one shape are traced once


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: as the framework calls it.
        shape: dimensions with the batch first; None where any size goes.
        dtype: NumPy's name; `string` for strings.
        limit: one more than the largest valid value of an input that looks rows up in a table; None for any other.
        words: what texts are made of, where the model tells which it knows.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    limit: int | None = None
    words: tuple[str, ...] = ()

    def concrete(self, batch: int) -> tuple[int, ...]:
        """The shape with every open dimension filled in."""
        fill = _PIXELS if len(self.shape) >= 4 else _STEPS
        return tuple(
            size if size is not None else (batch if axis == 0 else fill) for axis, size in enumerate(self.shape)
        )


def make_inputs(specs: Sequence[InputSpec], *, seed: int, batch: int) -> list[np.ndarray]:
    """One array per input: normal for floats, uniform whole numbers below a limit, fair coins for booleans, texts of words."""
    import numpy as np

    generator = np.random.default_rng(seed)
    ragged = set(ragged_names([spec.name for spec in specs]))
    lengths = [_RAGGED[row % len(_RAGGED)] for row in range(batch)]
    made = []
    for spec in specs:
        shape = spec.concrete(batch)
        if spec.name.removesuffix(VALUES) in ragged and spec.name.endswith(VALUES):
            shape = (sum(lengths), *shape[1:])
        kind = "O" if spec.dtype == "string" else np.dtype(spec.dtype).kind
        if spec.name.removesuffix(SPLITS) in ragged and spec.name.endswith(SPLITS):
            made.append(np.array([0, *itertools.accumulate(lengths)], spec.dtype))
        elif kind == "O":
            made.append(_texts(generator, shape, spec.words or _WORDS))
        elif kind == "b":
            made.append(generator.integers(0, 2, shape).astype(bool))
        elif kind in "iu" or spec.limit is not None:  # Keras casts floating indices to integers
            made.append(generator.integers(0, spec.limit or _INTEGERS_WITHOUT_TABLE, shape).astype(spec.dtype))
        else:
            made.append(generator.standard_normal(shape).astype(spec.dtype))
    return made


def _texts(generator: np.random.Generator, shape: tuple[int, ...], words: Sequence[str]) -> np.ndarray:
    """Every other text is one word, which is all that some lookups take; the rest have several."""
    import numpy as np

    texts: np.ndarray = np.empty(shape, object)
    for place in range(texts.size):
        count = 1 if place % 2 else int(generator.integers(1, _LONGEST_TEXT + 1))
        chosen = [words[number] for number in generator.integers(0, len(words), count)]
        texts.reshape(-1)[place] = " ".join(chosen).encode()
    return texts


def shaped(specs: Sequence[InputSpec], shapes: Sequence[tuple[tuple[int, ...], str]]) -> list[InputSpec]:
    """The inputs of a model with the sizes that a person gave.

    Args:
        specs: what the model takes.
        shapes: (shape with the batch, dtype) of each input, in their order.

    Raises:
        UsageError: they do not fit.
    """
    import numpy as np

    if len(shapes) != len(specs):
        raise UsageError(
            "number of inputs", key="--input-shape", expected=", ".join(spec.name for spec in specs), found=len(shapes)
        )
    found = []
    for spec, (shape, dtype) in zip(specs, shapes, strict=True):
        _check_shape("--input-shape", spec, shape)
        text = "string" in (spec.dtype, dtype)
        if spec.dtype != dtype if text else not np.can_cast(dtype, spec.dtype, casting="same_kind"):
            raise UsageError("dtype of an input", path="--input-shape", key=spec.name, expected=spec.dtype, found=dtype)
        found.append(replace(spec, shape=shape))
    return found


def count_rows(specs: Sequence[InputSpec], arrays: Sequence[np.ndarray]) -> int:
    """How many samples a batch has."""
    if not arrays or not arrays[0].ndim:
        return 1
    ragged = ragged_names([spec.name for spec in specs])
    if ragged and specs[0].name == ragged[0] + VALUES:
        splits = next(place for place, spec in enumerate(specs) if spec.name == ragged[0] + SPLITS)
        return len(arrays[splits]) - 1
    return len(arrays[0])


def read_inputs(path: str, specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """Arrays from a file: by input name, or in stored order when the names do not fit.

    Raises:
        UsageError: the number of arrays, a shape or a dtype does not fit the model.
        CkptkitError: the file cannot be read.
    """
    return fit_inputs(path, specs, read_arrays(path))


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

    _check_shape(path, spec, array.shape)
    if spec.dtype == "string":
        return array
    if not np.can_cast(array.dtype, spec.dtype, casting="same_kind"):
        raise UsageError("dtype of an input", path=path, key=spec.name, expected=spec.dtype, found=array.dtype.name)
    return array.astype(spec.dtype)


def _check_shape(path: str, spec: InputSpec, shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(spec.shape) and all(
        wanted in (None, size) for wanted, size in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError("shape of an input", path=path, key=spec.name, expected=spec.shape, found=shape)
