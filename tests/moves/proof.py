"""Proving a move: both sides run natively, and what they compute agrees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ckptkit import remap
from ckptkit.api.proposal import Remapped
from tests.moves.containers import CONTAINERS, Container

# Float32 arithmetic in another order; a wrong gate or a swapped layer is off by a thousand times as much.
RTOL = 1e-5


@dataclass(frozen=True)
class Model:
    """A live model and what it takes.

    Attributes:
        framework: `keras`, `tf_keras`, `sonnet` or `tf.Module`.
        live: the model.
        shape: of one sample; integers below `vocabulary` where that is set.
        inputs: how many inputs it has, all of that shape.
        vocabulary: number of tokens of an embedding, or None.
    """

    framework: str
    live: Any
    shape: tuple[int, ...]
    inputs: int = 1
    vocabulary: int | None = None

    def container(self, name: str) -> Container:
        return CONTAINERS[self.framework][name]

    def variables(self) -> list[Any]:
        return list(self.live.variables if self.framework in ("sonnet", "tf.Module") else self.live.weights)

    def run(self, sample: np.ndarray, live: Any = None) -> np.ndarray:
        """The output for one sample on every input."""
        live = self.live if live is None else live
        given = [sample] * self.inputs if self.inputs > 1 else sample
        if self.framework in ("sonnet", "tf.Module"):
            return np.asarray(live(given))
        return np.asarray(live(given, training=False))


def batch(model: Model, seed: int = 7, rows: int = 4) -> np.ndarray:
    random = np.random.default_rng(seed)
    if model.vocabulary is not None:
        return random.integers(0, model.vocabulary, (rows, *model.shape)).astype("int32")
    return random.normal(size=(rows, *model.shape)).astype("float32")


def random_values(specs: Sequence[tuple[tuple[int, ...], str]], seed: int) -> list[np.ndarray | None]:
    """Random values of each (shape, dtype); None for what is no weight.

    Vectors are positive, so that variances are such; kernels are small enough that nothing saturates, which would hide
    what is wrong.
    """
    random = np.random.default_rng(seed)
    values: list[np.ndarray | None] = []
    for shape, dtype in specs:
        if not dtype.startswith("float"):
            values.append(None)
        elif len(shape) > 1 and max(shape) < np.prod(shape):
            values.append(random.normal(size=shape).astype(dtype) * np.float32(1.2 / np.sqrt(np.prod(shape[:-1]))))
        else:
            values.append(random.uniform(0.3, 1.2, shape).astype(dtype))
    return values


def randomize(variables: Sequence[Any], seed: int) -> None:
    """Give every variable of a live model random values."""
    specs = [(tuple(v.shape), str(getattr(v.dtype, "name", v.dtype))) for v in variables]
    for variable, value in zip(variables, random_values(specs, seed), strict=True):
        if value is not None:
            variable.assign(value)


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-5 of the largest element, and neither is constant."""
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    assert scale > 1e-3
    assert np.ptp(expected) > 1e-3 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def assert_differ(found: np.ndarray, expected: np.ndarray) -> None:
    """By far more than arithmetic does: the models are not equal for another reason."""
    if found.shape == expected.shape:
        assert np.abs(found - expected).max() > 1e-2 * np.abs(expected).max()


def towers(output: np.ndarray, count: int) -> list[np.ndarray]:
    """The outputs for each input, which the models here concatenate."""
    return np.split(output, count, axis=-1)


class Mover:
    """Saves, remaps and loads in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def path(self, ending: str = "") -> str:
        return str(self._folder / f"c{next(self._numbers)}{ending}")

    def save(self, model: Model, container: str) -> str:
        chosen = model.container(container)
        path = self.path(chosen.ending)
        chosen.save(model.live, path)
        return path

    def move(
        self, source: Model, target: Model, containers: tuple[str, str], **options: Any
    ) -> tuple[np.ndarray, np.ndarray, Remapped]:
        """The outputs of the source and of the target loaded with the source's weights, on one batch.

        Both get random values first; before the move their outputs differ.
        """
        randomize(source.variables(), 1)
        randomize(target.variables(), 2)
        sample = batch(source)
        expected, before = source.run(sample), target.run(sample)
        for tower in towers(before, target.inputs):
            for other in towers(expected, source.inputs):
                assert_differ(tower, other)
        old, template = self.save(source, containers[0]), self.save(target, containers[1])
        output = self.path(target.container(containers[1]).ending)
        done = remap(old, template, output, **options)
        return expected, target.run(sample, target.container(containers[1]).load(target.live, output)), done
