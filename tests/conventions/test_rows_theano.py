"""Kernels of files that Theano wrote: it convolves, turning the kernel, where every other backend correlates.

Theano cannot be installed beside a Python of today. What stands in: its definition of a convolution, written out, for
one row; and for the others, that they are the row of the other backends with the kernel turned in space.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")

import keras

from ckptkit.conventions import ROWS, Row, by_id
from tests.conventions.layers import DIMS, make_layer, move, moved

# JAX's libraries turn kernels too, and prove that themselves.
TURNED = frozenset(
    row.id for row in ROWS if row.dialect.startswith("keras") and any("~" in native.layout for native in row.natives)
)


def straight(row: Row) -> Row:
    """The row of the backends that correlate."""
    natives = tuple(replace(native, layout=native.layout.replace("~", "")) for native in row.natives)
    return next(
        other for other in ROWS if (other.dialect, other.kind, other.natives) == (row.dialect, row.kind, natives)
    )


@pytest.mark.parametrize("name", sorted(TURNED))
def test_a_turned_kernel_is_the_straight_one_turned(name: str) -> None:
    row = by_id(name)
    other = straight(row)
    reference = make_layer(by_id(f"keras3/{row.kind}"), seed=5)
    values = make_layer(row).values
    _, turned = move(make_layer(row, values=values), reference)
    _, plain = move(make_layer(other, values=values), reference)
    for suffix, value in plain.items():
        space = {"1": 1, "2": 2, "3": 3}[row.kind[row.kind.index("D") - 1]] if suffix != "bias" else 0
        np.testing.assert_array_equal(turned[suffix], value[(slice(None, None, -1),) * space])
    changed = [suffix for suffix in plain if not np.array_equal(turned[suffix], plain[suffix])]
    assert changed == [suffix for suffix in plain if suffix != "bias"]


def test_keras_computes_theanos_convolution() -> None:
    row = by_id("keras2/Conv2D(theano)")
    random = np.random.default_rng(3)
    shape = tuple(DIMS[name] for name in "XYIO")
    values = {
        "kernel": random.normal(size=shape).astype(np.float32),
        "bias": random.normal(size=shape[-1:]).astype(np.float32),
    }
    x = random.normal(size=(2, 6, 7, shape[2])).astype(np.float32)
    height, width = shape[:2]
    wanted = np.zeros((2, 6 - height + 1, 7 - width + 1, shape[3]), np.float32) + values["bias"]
    for i in range(wanted.shape[1]):
        for j in range(wanted.shape[2]):
            for a in range(height):  # the definition: the kernel runs against the image
                for b in range(width):
                    here = x[:, i + height - 1 - a, j + width - 1 - b, :]
                    wanted[:, i, j] += here @ values["kernel"][a, b]
    layer = keras.layers.Conv2D(shape[3], shape[:2])
    layer(x)
    template = {"kernel": np.asarray(layer.kernel), "bias": np.asarray(layer.bias)}
    found = moved(row, values, by_id("keras3/Conv2D"), template)
    layer.set_weights([found["kernel"], found["bias"]])
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-4, atol=1e-5)
    layer.set_weights([values["kernel"], values["bias"]])
    assert np.abs(np.asarray(layer(x)) - wanted).max() > 0.1
