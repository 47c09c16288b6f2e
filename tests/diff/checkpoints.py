"""Checkpoints in memory, with layers and kinds as a test wants them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ckptkit import dtypes
from ckptkit.matching.result import Match, Pair
from ckptkit.model import Checkpoint, CheckpointSpec, Kind, Layer, Variable
from tests.arrays import canonical_name
from tests.compare.memory_source import MemorySource


def checkpoint(
    arrays: Mapping[str, np.ndarray],
    path: str = "memory",
    kinds: Mapping[str, Kind] | None = None,
    damaged: tuple[str, ...] = (),
    problems: Mapping[str, str] | None = None,
) -> Checkpoint:
    """A checkpoint of `arrays` by canonical name (`layer/role`); keys are the names with `.` for `/`."""
    variables = []
    for name, value in arrays.items():
        layer, _, role = name.rpartition("/")
        dtype = canonical_name(value.dtype)
        nbytes = value.size * dtypes.itemsize(dtype)
        kind = (kinds or {}).get(name, "weight")
        problem = (problems or {}).get(name)
        key = name.replace("/", ".")
        variables.append(Variable(name, key, (), layer, role, kind, None, value.shape, dtype, nbytes, problem=problem))
    names = dict.fromkeys(variable.layer for variable in variables if variable.layer)
    layers = tuple(Layer(name, None, tuple(v.name for v in variables if v.layer == name)) for name in names)
    spec = CheckpointSpec(path, "memory", None, "stored", layers, tuple(variables))
    stored = {name.replace("/", "."): value for name, value in arrays.items()}
    return Checkpoint(spec, MemorySource(stored, damaged=tuple(name.replace("/", ".") for name in damaged)))


def by_name(a: Checkpoint, b: Checkpoint) -> Match:
    """What matching by name gives, without looking at kinds."""
    from ckptkit.matching.result import Unmatched

    return Match(
        by="name",
        pairs=tuple(Pair((name,), (name,), ("name",)) for name in b if name in a),
        missing=tuple(Unmatched(name) for name in b if name not in a),
        unexpected=tuple(Unmatched(name) for name in a if name not in b),
    )


def dense(seed: int, layers: tuple[str, ...] = ("one", "two", "three"), size: int = 4) -> dict[str, np.ndarray]:
    """Square layers with a kernel and a bias each, all of equal shapes."""
    rng = np.random.default_rng(seed)
    found = {}
    for layer in layers:
        found[f"{layer}/kernel"] = rng.standard_normal((size, size), dtype=np.float32)
        found[f"{layer}/bias"] = rng.standard_normal(size, dtype=np.float32)
    return found
