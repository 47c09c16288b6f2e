"""What a published naming scheme says: which model, and under which names its values are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Stored = dict[str, np.ndarray]

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def variables_of(model: Any) -> list[Any]:
    """The variables of a Keras model or of a Sonnet module."""
    return list(model.weights if hasattr(model, "weights") else model.variables)


def path_of(variable: Any) -> str:
    """Its full name, scopes and all."""
    return str(getattr(variable, "path", "") or variable.name.partition(":")[0])


class Weights(Mapping[str, np.ndarray]):
    """The values of a Keras model by path, or by the end of a path where it is the only one; counts what was asked for."""

    def __init__(self, model: Any) -> None:
        self._values = {}
        for variable in variables_of(model):
            path, place = path_of(variable), 1
            while path in self._values:  # two layers of one name inside different ones: Keras leaves both paths equal
                place += 1
                path = f"{path_of(variable)}#{place}"
            self._values[path] = np.asarray(variable)
        self.asked: set[str] = set()

    def __getitem__(self, path: str) -> np.ndarray:
        if path not in self._values:
            ends = [full for full in self._values if full.endswith(f"/{path}")]
            if len(ends) != 1:
                raise KeyError(f"{path}: {ends or sorted(self._values)}")
            path = ends[0]
        self.asked.add(path)
        return self._values[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def layer(self, path: str, **names: str) -> Iterator[tuple[str, np.ndarray]]:
        """The weights of a layer as (published name, value): `layer("fc", kernel="weights", bias="biases")`."""
        for role, published in names.items():
            yield published, self[f"{path}/{role}"]

    def norm(self, path: str, roles: Iterable[str] = NORM) -> Iterator[tuple[str, np.ndarray]]:
        """The weights of a normalisation under Keras's own words, which TensorFlow 1 has too."""
        for role in roles:
            yield role, self[f"{path}/{role}"]


def below(scope: str, items: Iterable[tuple[str, np.ndarray]]) -> Stored:
    """The items with the scope before their names."""
    return {f"{scope}/{name}": value for name, value in items}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A family of published checkpoints.

    Attributes:
        build: makes the model that people load it into, with any values.
        store: the values of such a model under the published names and in the published layouts, in the order in which
            the original code makes the variables.
        extra: what the published files hold besides, of no use to the model; it is left behind with leave.
        options: keywords of `ckptkit.plan` without which the pair has no one answer.
        container: `tf1` (a bundle of `tf.train.Saver`), `npz`, or `h5` (weights as Keras 2 stores a nested model's).
        targets: suffixes of the files that the model is saved to.
        back: verdicts that are good enough the other way round; none where that has no one answer.
        untouched: ends of the paths of weights that the published files lack.
        expect: verdicts that are good enough.
        extra_expect: verdicts that are good enough where `extra` lies beside the rest.
    """

    build: Callable[[], Any]
    store: Callable[[Weights], Stored]
    extra: Callable[[Weights], Stored] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    container: str = "tf1"
    back: tuple[str, ...] = ("right",)
    untouched: tuple[str, ...] = ()
    expect: tuple[str, ...] = ("right",)
    extra_expect: tuple[str, ...] = ("right",)
    targets: tuple[str, ...] = (".weights.h5", ".keras", ".h5")


SCHEMES: dict[str, Callable[[], Scheme]] = {}


def published(make: Callable[[], Scheme]) -> Callable[[], Scheme]:
    """Register a scheme by its function's name."""
    SCHEMES[make.__name__] = make
    return make


def noise(seed: int, shapes: Mapping[str, tuple[int, ...]]) -> Stored:
    """Values for what only the published file holds."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
