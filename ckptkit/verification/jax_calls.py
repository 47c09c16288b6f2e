"""What each layer of a model of JAX is given and gives, where its framework lets its calls be watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckptkit.trees import FunctionalModel, to_numpy
from ckptkit.verification.calls import Call

if TYPE_CHECKING:
    import numpy as np


def record_functional(model: FunctionalModel, arrays: Sequence[np.ndarray]) -> list[Call]:
    """The first call of each innermost module that is run outside of loops, in the order of finishing; eager.

    Args:
        model: one that can be watched.
        arrays: its inputs.
    """
    import jax

    calls: dict[str, Call] = {}

    def record(name: str, kind: str, given: Any, made: Any) -> None:
        output, inputs = _first(made), _first(given)
        if name not in calls and output is not None:
            calls[name] = Call(None, name or kind, kind, inputs, output)

    if model.watch is not None:
        with jax.default_matmul_precision("highest"):
            model.watch(model.tree, tuple(map(jax.numpy.asarray, arrays)), record)
    return [
        call
        for name, call in calls.items()
        if not any(other.startswith(f"{name}/" if name else "") and other != name for other in calls)
    ]


def _first(tree: Any) -> np.ndarray | None:
    """The first array of a tree; None where there is none, or where a loop is being traced."""
    import jax

    found = next((leaf for leaf in jax.tree_util.tree_leaves(tree) if hasattr(leaf, "dtype")), None)
    return None if found is None or isinstance(found, jax.core.Tracer) else to_numpy(found)
