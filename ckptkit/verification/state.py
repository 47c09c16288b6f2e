"""A run leaves nothing behind: variables that it changes, and generators that it draws from, are put back.

So a model that counts its calls, carries state from batch to batch or samples is a function of its inputs while it is
verified, and its owner finds it as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# TensorFlow takes no memory of others that lies otherwise: EIGEN_MAX_ALIGN_BYTES.
ALIGNMENT = 64
# Below that a copy costs nothing.
_LARGE = 1 << 16

# What both sides' generators are set to before a run; that of a free run is another.
_SEED = 20_000
_OTHER = 1


def view(value: Any) -> np.ndarray:
    """The elements of a variable or an eager tensor, without a copy where they lie in memory of this machine.

    Whatever is assigned to the variable later makes it hold other memory, or a copy of this.
    """
    import numpy as np

    tensor = value.read_value() if hasattr(value, "read_value") else value
    if getattr(tensor, "device", "").endswith("CPU:0") and tensor.dtype.as_numpy_dtype in (np.float32, np.float64):
        return np.asarray(memoryview(tensor))
    array: np.ndarray = tensor.numpy()
    return array


def tensor_over(array: np.ndarray) -> Any:
    """A tensor of the elements of an array, in the same memory where that is laid out as TensorFlow takes it."""
    import tensorflow as tf

    where, read_only = array.__array_interface__["data"]
    if (
        array.nbytes < _LARGE
        or array.dtype.kind != "f"
        or read_only
        or where % ALIGNMENT
        or not array.flags.c_contiguous
    ):
        return array
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


@contextmanager
def put_back(variables: list[Any]) -> Iterator[None]:
    """Give `variables` the values that they have now, whatever happens in between."""
    import tensorflow as tf

    before = [tf.identity(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def seed_generators(variables: list[Any], *, free: bool) -> None:
    """Set the state of random generators among `variables`: Keras 3's `SeedGenerator`, `tf.random.Generator`.

    All get the same, so that two models draw the same whatever order their layers were made in. Keras 3 keeps (seed,
    draws made), TensorFlow's Philox generator (two words of a counter, key): keras/src/random/seed_generator.py,
    tensorflow/python/ops/stateful_random_ops.py.

    Args:
        variables: of a model; others than generators are left alone.
        free: whether to draw other samples than usual.
    """
    import numpy as np

    seed = _SEED + (_OTHER if free else 0)
    for variable in variables:
        name, shape = variable.name.split(":")[0].split("/")[-1], tuple(variable.shape)
        if name == "seed_generator_state" and shape == (2,):
            variable.assign(np.array([seed, 0], variable.dtype.as_numpy_dtype))
        elif name == "StateVar" and shape == (3,):
            variable.assign(np.array([0, 0, seed], variable.dtype.as_numpy_dtype))


@contextmanager
def global_seed(*, free: bool = False) -> Iterator[None]:
    """Fix what ops draw that keep their own state, also in functions that were traced before; then restore the seed.

    Args:
        free: whether to let them go on drawing instead.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    current = context.context()
    before = {name: value for name, value in vars(current).items() if name in ("_seed", "_rng")}  # no public way
    try:
        if not free:
            tf.random.set_seed(_SEED)
        yield
    finally:
        for name in ("_seed", "_rng"):
            if name in before:
                setattr(current, name, before[name])
            elif name in vars(current):
                delattr(current, name)
