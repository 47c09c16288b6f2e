"""TensorFlow 1 as it was used: a graph, a session, a Saver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.moves.proof import random_values


class Graph:
    """A graph with its own session.

    `build` is called in the graph and gives the placeholders and the output.
    """

    def __init__(self, fw: Any, build: Callable[[], tuple[list[Any], Any]]) -> None:
        self._v1 = fw.v1
        self._graph = fw.tf.Graph()
        with self._graph.as_default():
            self._inputs, self._output = build()
            self.variables = self._v1.global_variables()
            self._saver = self._v1.train.Saver()
            self._session = self._v1.Session()
            self._session.run(self._v1.global_variables_initializer())

    def randomize(self, seed: int) -> None:
        values = random_values([(tuple(v.shape), v.dtype.base_dtype.name) for v in self.variables], seed)
        with self._graph.as_default():
            for variable, value in zip(self.variables, values, strict=True):
                if value is not None:
                    variable.load(value, self._session)

    def values(self) -> dict[str, np.ndarray]:
        return {v.op.name: value for v, value in zip(self.variables, self._session.run(self.variables), strict=True)}

    def run(self, *samples: np.ndarray) -> np.ndarray:
        """The output; the last sample goes to every input that is left."""
        given = [*samples, *[samples[-1]] * (len(self._inputs) - len(samples))]
        return np.asarray(self._session.run(self._output, dict(zip(self._inputs, given, strict=True))))

    def save(self, path: str, step: int | None = None) -> str:
        with self._graph.as_default():
            return str(self._saver.save(self._session, path, global_step=step))

    def restore(self, path: str) -> None:
        with self._graph.as_default():
            self._saver.restore(self._session, path)
