"""Makes the pairs that the benchmarks compare: 386 float32 tensors, 1.24 GiB, with the shapes of a large text encoder.

The files are made once and kept outside the repository, in `CKPTKIT_BENCHMARK_DATA` or the system's temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = 24
WIDTH = 1024
VOCABULARY = 30522
POSITIONS = 512

# The block of a transformer encoder: four projections, two dense layers, two normalisations.
_BLOCK = (
    *(((WIDTH, WIDTH), (WIDTH,)) for _ in range(4)),
    ((WIDTH, 4 * WIDTH), (4 * WIDTH,)),
    ((4 * WIDTH, WIDTH), (WIDTH,)),
    ((WIDTH,), (WIDTH,)),
    ((WIDTH,), (WIDTH,)),
)


def folder() -> Path:
    """Where the files are kept."""
    named = os.environ.get("CKPTKIT_BENCHMARK_DATA")
    return Path(named) if named else Path(tempfile.gettempdir()) / "ckptkit-benchmark-data"


def shapes() -> list[tuple[str, tuple[int, ...]]]:
    """(path of the layer's variable in a Keras 3 weights file, shape) of the 386 tensors, in order."""
    found: list[tuple[str, tuple[int, ...]]] = [
        ("layers/embedding/vars/0", (VOCABULARY, WIDTH)),
        ("layers/embedding_1/vars/0", (POSITIONS, WIDTH)),
    ]
    for number in range(LAYERS * len(_BLOCK)):
        block, part = divmod(number, len(_BLOCK))
        found.extend(
            (f"layers/block_{block}/part_{part}/vars/{index}", shape) for index, shape in enumerate(_BLOCK[part])
        )
    return found


def values(seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(path, random values) tensor by tensor; equal seeds give equal values."""
    for number, (name, shape) in enumerate(shapes()):
        yield name, np.random.default_rng((seed, number)).standard_normal(shape, dtype=np.float32)


def renamed(name: str) -> str:
    """The TF1 variable that holds tensor `name` in the bundles: no part of the name is kept."""
    words = {"0": "w", "1": "b"}
    path, _, index = name.removeprefix("layers/").partition("/vars/")
    return f"net/{path.replace('block', 'stack').replace('part', 'unit').replace('embedding', 'table')}/{words[index]}"


def hdf5(name: str, seed: int) -> Path:
    """A Keras 3 weights file with the values of `seed`, made if it is not there; `name` tells equal files apart."""
    import h5py

    path = folder() / f"{name}.weights.h5"
    if not path.exists():
        folder().mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with h5py.File(part, "w") as file:
            for key, value in values(seed):
                file.create_dataset(key, data=value)
        part.rename(path)
    return path


def bundle(name: str, seed: int) -> Path:
    """The prefix of a TensorFlow V2 bundle with the values of `seed` under other names, written by TensorFlow."""
    prefix = folder() / name
    if not prefix.with_name(f"{name}.index").exists():
        folder().mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, __file__, os.fspath(prefix), str(seed)], check=True)
    return prefix


def many_variables(count: int, seed: int, name: str) -> Path:
    """A TensorFlow V2 bundle of `count` variables of 8 float32 elements each."""
    prefix = folder() / name
    if not prefix.with_name(f"{name}.index").exists():
        folder().mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, __file__, os.fspath(prefix), str(seed), str(count)], check=True)
    return prefix


def _write_bundle(prefix: str, named: dict[str, Any]) -> None:
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=list(named), shape_and_slices=[""] * len(named), tensors=list(named.values())
    )


def main(prefix: str, seed: str, count: str | None = None) -> None:
    """Write one bundle; run in a process of its own, so that no benchmark process holds TensorFlow."""
    if count is None:
        _write_bundle(prefix, {renamed(key): value for key, value in values(int(seed))})
    else:
        rows = np.random.default_rng(int(seed)).standard_normal((int(count), 8), dtype=np.float32)
        _write_bundle(prefix, {f"net/unit_{number}/w": row for number, row in enumerate(rows)})


if __name__ == "__main__":
    main(*sys.argv[1:])
