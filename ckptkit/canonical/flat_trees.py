"""Trees of JAX as flat names: what Flax and Haiku keep of one layer in several collections, and whose names they are."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

FLAX = "flax"
HAIKU = "haiku"

# Collections of a model's variables (flax/linen/normalization.py; haiku/_src/transform.py, `transform_with_state`). The
# first one makes the others known.
_PARAMS = "params"
_COLLECTIONS = frozenset({_PARAMS, "batch_stats", "state"})

# What Haiku puts into a path for what a constructor made (haiku/_src/module.py).
CONSTRUCTED = "~"
_AVERAGES = frozenset({"mean_ema", "var_ema"})

# A module of linen without a name of its own: its class, counted.
_COUNTED = re.compile(r"[A-Z][A-Za-z0-9]*_[0-9]{1,9}")

# Words of variables that Flax alone has beside a `kernel`.
_FLAX_WORDS = frozenset({"embedding", "negative_slope"})
_FLAX_NORM = frozenset({"scale", "bias"})

# Sub-modules of a recurrent cell of Flax (flax/linen/recurrent.py; the last pair is NNX's).
_CELLS = (frozenset({"ii", "ig", "hi", "hf"}), frozenset({"ir", "iz", "hn"}), frozenset({"dense_i", "dense_h"}))


def join_collections(names: Mapping[str, str]) -> dict[str, str]:
    """Paths in which a layer's variables stand together whatever collection they are in.

    `params/BatchNorm_0/scale` and `batch_stats/BatchNorm_0/mean` are of `BatchNorm_0`, and so is `mlp/linear` of
    `mlp/~/linear`. Names that would then be those of others stay as they are.

    Args:
        names: key -> path.
    """
    if not any("params/" in name or "~/" in name for name in names.values()):
        return dict(names)
    split = {key: tuple(name.split("/")) for key, name in names.items()}
    heads = {parts[: parts.index(_PARAMS)] for parts in split.values() if _PARAMS in parts[:-1]}
    wishes = {key: _joined(parts, heads) for key, parts in split.items()}
    counts = Counter(wishes.values())
    return {key: wish if counts[wish] == 1 else names[key] for key, wish in wishes.items()}


def _joined(parts: tuple[str, ...], heads: set[tuple[str, ...]]) -> str:
    for place, part in enumerate(parts[:-1]):
        if part in _COLLECTIONS and parts[:place] in heads:
            parts = parts[:place] + parts[place + 1 :]
            break
    kept = [part for part in parts[:-1] if part != CONSTRUCTED]
    return "/".join((*kept, parts[-1]))


def family_of(names: Iterable[str]) -> str | None:
    """Whether paths, as they are stored, are those of Flax or of Haiku; None where nothing tells."""
    words: dict[str, set[str]] = defaultdict(set)
    components: set[str] = set()
    for name in names:
        scope, _, word = name.rpartition("/")
        if scope not in words:
            components.update(scope.split("/"))
        words[scope].add(word)
    leaves = {word for found in words.values() for word in found}
    if (CONSTRUCTED in components or _AVERAGES & components) and leaves & {"w", "b", "average", "scale"}:
        return HAIKU
    if "kernel" not in leaves and not leaves & _FLAX_WORDS:
        return HAIKU if _PARAMS in components and "w" in leaves else None
    counted = any(_COUNTED.fullmatch(component) for component in components)
    normed = any(found >= _FLAX_NORM for found in words.values())
    celled = any(components >= cell for cell in _CELLS)
    return FLAX if _PARAMS in components or counted or normed or celled or leaves & _FLAX_WORDS else None
