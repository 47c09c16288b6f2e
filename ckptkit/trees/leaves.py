"""A tree taken apart into named leaves and put together again; JAX does it where it is loaded, and is never imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of arrays.

    Attributes:
        names: of its leaves that hold numbers, as the path to each joined by `/` (`params/Dense_0/kernel`).
        leaves: the arrays, in that order.
        put: makes a tree of the same structure of other arrays for these leaves; what is no number stays.
    """

    names: tuple[str, ...]
    leaves: tuple[Any, ...]
    put: Callable[[Sequence[Any]], Any]


def flatten(tree: Any) -> Tree:
    """`tree` with its leaves named.

    Dictionaries of any kind, lists and tuples; where JAX is loaded whatever it knows as a tree (`FrozenDict`, NNX's `State`,
    dataclasses). Keys of random generators are no numbers.

    Raises:
        UsageError: two leaves have one name, or something in it is neither a tree nor an array.
    """
    jax = sys.modules.get("jax")
    pairs, build = _by_jax(jax, tree) if jax is not None else _by_hand(tree)
    chosen = [place for place, (_, leaf) in enumerate(pairs) if not _is_key(leaf)]
    names = tuple(pairs[place][0] for place in chosen)
    for place in chosen:
        if not hasattr(pairs[place][1], "shape") and not isinstance(pairs[place][1], int | float | bool):
            raise UsageError("no array in the tree", key=pairs[place][0], found=type(pairs[place][1]).__name__)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError("two leaves of the tree have one name", key=twice)

    def put(values: Sequence[Any]) -> Any:
        every = [leaf for _, leaf in pairs]
        for place, value in zip(chosen, values, strict=True):
            every[place] = value
        return build(every)

    return Tree(names, tuple(pairs[place][1] for place in chosen), put)


def to_numpy(leaf: Any) -> np.ndarray:
    """A leaf as an array of this machine's memory."""
    import numpy as np

    return np.asarray(leaf)


def like(value: np.ndarray, leaf: Any) -> Any:
    """`value` as an array of the kind, dtype and place of `leaf`."""
    import numpy as np

    jax = sys.modules.get("jax")
    cast = value.astype(to_numpy(leaf).dtype).reshape(to_numpy(leaf).shape)
    if jax is not None and isinstance(leaf, jax.Array):
        return jax.device_put(cast, leaf.sharding)
    return cast if isinstance(leaf, np.ndarray) else cast[()]


def _is_key(leaf: Any) -> bool:
    """Whether a leaf is the key of a random generator, of JAX's type for such (`jax.dtypes.prng_key`)."""
    return str(getattr(leaf, "dtype", "")).startswith("key<")


Pairs = list[tuple[str, Any]]


def _by_jax(jax: Any, tree: Any) -> tuple[Pairs, Callable[[Sequence[Any]], Any]]:
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    return [(_path(path), leaf) for path, leaf in found], structure.unflatten


def _path(path: Sequence[Any]) -> str:
    """A path of JAX's keys; an array that NNX keeps in a variable is the variable."""
    words = [str(getattr(key, word)) for key in path for word in ("key", "idx", "name") if hasattr(key, word)]
    in_variable = len(path) > 1 and getattr(path[-1], "name", None) in ("value", "raw_value")
    return "/".join(words[:-1] if in_variable else words)


def _by_hand(tree: Any) -> tuple[Pairs, Callable[[Sequence[Any]], Any]]:
    pairs: Pairs = []

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, Mapping):
            for key in node:
                walk(node[key], (*path, str(key)))
        elif isinstance(node, list | tuple):
            for place, item in enumerate(node):
                walk(item, (*path, str(place)))
        elif node is not None:
            pairs.append(("/".join(path), node))

    def made(node: Any, values: Any) -> Any:
        if isinstance(node, Mapping):
            return type(node)({key: made(node[key], values) for key in node})  # type: ignore[call-arg]
        if isinstance(node, list | tuple):
            items = [made(item, values) for item in node]
            return type(node)(*items) if hasattr(node, "_fields") else type(node)(items)
        return None if node is None else next(values)

    walk(tree, ())
    return pairs, lambda leaves: made(tree, iter(leaves))
