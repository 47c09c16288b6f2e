"""What the model is called with: given arrays, shapes turned into arrays, or what the model itself says it takes."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ckptkit import dtypes
from ckptkit.errors import UsageError
from ckptkit.frameworks import accepts, framework_of, is_keras, require_tensorflow
from ckptkit.inputs import SPLITS, VALUES, parse_shape, ragged_names, read_arrays

_WORDS = ("the", "one", "2")

# What stands for a size that the model leaves open: batch of 2, short sequences, images that survive some pooling.
_BATCH, _STEPS, _PIXELS = 2, 8, 32


def make_array(shape: Sequence[int], dtype: str) -> Any:
    """Positive values for floats; zeros and ones for integers, which are valid indices of any vocabulary; texts of two words.

    No vocabulary need know the words: every lookup has a row for those that it does not.
    """
    generator = np.random.default_rng(0)
    if dtype == "string":
        words = np.array([f"{_WORDS[n % 3]} {_WORDS[n % 2 + 1]}" for n in range(math.prod(shape))], dtype=object)
        return require_tensorflow().constant(words.reshape(tuple(shape)), dtype="string")
    numpy_dtype = dtypes.numpy_dtype(dtype).newbyteorder("=")
    if dtype.startswith(("float", "bfloat", "complex")):
        return generator.uniform(0.1, 1.0, tuple(shape)).astype(numpy_dtype)
    return generator.integers(0, 2, tuple(shape)).astype(numpy_dtype)


def arguments_for(
    model: Any, inputs: object = None, input_shapes: Sequence[str | Sequence[int]] | None = None
) -> tuple[Any, ...]:
    """The positional arguments of a call of `model`.

    Args:
        model: a model, layer or module.
        inputs: an array, a list, dict or other structure of arrays that the model takes as one argument, or a tuple of
            several arguments.
        input_shapes: shapes, as text (`1,28,28,1:int32`) or sizes, one for each input.

    Raises:
        UsageError: neither is given, and the model does not tell; or both are.
    """
    if inputs is not None and input_shapes:
        raise UsageError("inputs and input shapes are both given", hint="One of the two says what the model takes.")
    if inputs is not None:
        return _with_state(model, inputs if isinstance(inputs, tuple) else _named(model, inputs))
    if input_shapes:
        pairs = [parse_shape(s) if isinstance(s, str) else (tuple(s), "float32") for s in input_shapes]
        return _with_state(model, _pack(model, [make_array(shape, dtype) for shape, dtype in pairs]))
    return _from_model(model)


def _with_state(model: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """With the initial state that a recurrent core of Sonnet takes as its second argument."""
    sonnet = sys.modules.get("sonnet")
    if sonnet is not None and isinstance(model, sonnet.RNNCore) and len(arguments) == 1:
        return (*arguments, model.initial_state(np.shape(arguments[0])[0]))
    return arguments


def _pack(model: Any, arrays: list[Any]) -> tuple[Any, ...]:
    """Arrays without names as the model wants them: one by one, or in a list."""
    if not is_keras(framework_of(model) or ""):  # Keras converts arrays, Sonnet refuses them
        arrays = [require_tensorflow().convert_to_tensor(array) for array in arrays]
    if len(arrays) == 1:
        return (arrays[0],)
    if getattr(model, "inputs", None) is None and accepts(model, len(arrays)):
        return tuple(arrays)
    return (arrays,)


class ArrayFile(dict[str, Any]):
    """Arrays by the names that a file has for them, which need not be the model's."""


def _named(model: Any, inputs: object) -> tuple[Any, ...]:
    """Arrays by name as the model wants them: in the order of its inputs where these have the names."""
    if not isinstance(inputs, Mapping) or not inputs:
        return (inputs,)
    names = [getattr(tensor, "name", "").split(":")[0] for tensor in getattr(model, "inputs", None) or ()]
    if names and set(names) == set(inputs):
        ordered = [inputs[name] for name in names]
        return (ordered[0] if len(ordered) == 1 else ordered,)
    if isinstance(inputs, ArrayFile) and (len(inputs) == 1 or not is_keras(framework_of(model) or "")):
        return _pack(model, list(inputs.values()))
    return (dict(inputs),)


def _from_model(model: Any) -> tuple[Any, ...]:
    specs = getattr(model, "inputs", None) if is_keras(framework_of(model) or "") else None
    if not specs:
        raise UsageError(
            f"{type(model).__name__} does not say what it takes",
            hint="Give its inputs: --input-shape 1,28,28,1 (repeatable, :int32 for integers) or --inputs FILE.npz.",
        )
    arrays = []
    for spec in specs:
        name = spec.dtype if isinstance(spec.dtype, str) else spec.dtype.name
        name = name if name == "string" else np.dtype(name).name
        arrays.append(make_array(_closed(tuple(spec.shape)), name))
    structure = getattr(model, "_inputs_struct", None)  # Keras 3 only: a model may take a dict
    if isinstance(structure, Mapping):
        return (dict(zip(structure, arrays, strict=True)),)
    return (arrays[0] if len(arrays) == 1 else arrays,)


def _closed(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    inner = _PIXELS if len(shape) > 3 else _STEPS
    return tuple(size if size is not None else (_BATCH if axis == 0 else inner) for axis, size in enumerate(shape))


def read_inputs(path: str) -> ArrayFile:
    """The arrays of an NPZ file by name, through the same checked reader as every other file; nothing is unpickled.

    Texts become tensors of strings. Arrays `x/values` and `x/row_splits` become one ragged tensor `x`.

    Raises:
        CkptkitError: it cannot be read, or holds a ragged array whose parts do not fit.
    """
    arrays = read_arrays(path)
    for name in ragged_names(list(arrays)):
        values, splits = arrays.pop(name + VALUES), arrays.pop(name + SPLITS)
        rows = require_tensorflow().RaggedTensor.from_row_splits(_tensor(values), splits.astype(np.int64))
        arrays[name] = rows
    return ArrayFile({name: _tensor(value) for name, value in arrays.items()})


def _tensor(value: Any) -> Any:
    is_text = isinstance(value, np.ndarray) and value.dtype == object
    return require_tensorflow().constant(value, dtype="string") if is_text else value
