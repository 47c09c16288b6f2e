"""Trees of arrays as JAX's libraries keep them: which leaves are weights, which are an optimizer's, by their places.

No word decides. What an optimizer keeps for weights repeats their tree below itself (`opt_state/0/mu/Dense_0/kernel` for
`params/Dense_0/kernel`), with counters beside; collections of one model have layers in common (`batch_stats/BatchNorm_0`);
a box around each leaf (`kernel/value`, of NNX) is around all of them. The alphabet in which leaves stand is no order.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit.canonical.draft import Aside, MapDraft
from ckptkit.canonical.flat_trees import CONSTRUCTED, family_of
from ckptkit.canonical.rekeyed import draft_by_names
from ckptkit.model import Contents, StoredTensor, Tree

Path = tuple[str, ...]

# What a model's variables are called where two trees beside each other are the same (`params`, `ema_params`).
_USUAL = ("params", "model", "0")

# Scalars of these types count or switch something; none is trained.
_COUNTING = ("int", "uint", "bool")


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf: its tensor and its path, boxes taken off."""

    tensor: StoredTensor
    path: Path

    @property
    def key(self) -> str:
        return self.tensor.key


def draft_tree(contents: Contents, tree: Tree) -> MapDraft:
    """Layers by scope; slots of the weights that they repeat; counters."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    leaves = _unboxed(
        [_Leaf(tensors[leaf.key], leaf.path or (leaf.key,)) for leaf in tree.leaves if leaf.key in tensors]
    )
    branches: dict[str, list[_Leaf]] = defaultdict(list)
    for leaf in leaves:
        branches[leaf.path[0] if len(leaf.path) > 1 else ""].append(leaf)
    model, kept = _optimizer_states(branches)
    asides: list[Aside] = []
    for branch in kept:
        asides += _optimizer(branches.pop(branch), branches[model] if model else (), branch)
    counting = _counting(branches)
    asides += [Aside(leaf.key, "/".join(leaf.path), "state") for leaf in counting]
    counted = {leaf.key for leaf in counting}
    names = {key: name for key, name in _names(branches, model).items() if key not in counted}
    draft = draft_by_names(contents, names, family_of("/".join(leaf.path) for leaf in leaves))
    aliases = {leaf.key: "/".join(leaf.path) for leaf in leaves}
    members = tuple(
        replace(member, aliases=(*member.aliases, aliases[member.key])) if aliases[member.key] != member.key else member
        for member in draft.members
    )
    return replace(draft, members=members, asides=(*draft.asides, *asides))


def _unboxed(leaves: Sequence[_Leaf]) -> list[_Leaf]:
    """Leaves without the box that is around each of them: a last part that is the same for all, and the only one there."""
    arrays = [leaf for leaf in leaves if leaf.tensor.dtype != "string"]
    words = {leaf.path[-1] for leaf in arrays}
    around = Counter(leaf.path[:-1] for leaf in leaves)
    boxed = len(words) == 1 and len(arrays) > 1 and all(len(leaf.path) > 2 or leaf.path[:-1] for leaf in arrays)
    if not boxed or any(around[leaf.path[:-1]] > 1 for leaf in arrays) or not all(leaf.path[:-1] for leaf in arrays):
        return list(leaves)
    return [replace(leaf, path=leaf.path[:-1]) if leaf.tensor.dtype != "string" else leaf for leaf in leaves]


def _optimizer_states(branches: Mapping[str, Sequence[_Leaf]]) -> tuple[str | None, list[str]]:
    """The branch that is a model, and those that are what optimizers keep for it."""
    best: tuple[str | None, list[str]] = None, []
    candidates = sorted(branches, key=lambda name: (name not in _USUAL, -len(branches[name])))
    for model in candidates:
        shapes = {leaf.path[1:]: leaf.tensor.shape for leaf in branches[model]} if model else {}
        kept = [name for name in branches if name not in (model, "") and _keeps(branches[name], shapes)]
        if shapes and len(kept) > len(best[1]):
            best = model, kept
    return best


def _keeps(leaves: Sequence[_Leaf], shapes: Mapping[Path, tuple[int, ...]]) -> bool:
    """Whether a branch is what an optimizer keeps for the weights of `shapes`.

    Everything in it repeats the path of a weight below something of its own, or is one number; and either something
    counts, or what repeats the weights has a name inside of a sequence, as the parts of a chain of optax have.
    """
    prefixes: set[Path] = set()
    counts = False
    repeated = 0
    for leaf in leaves:
        cut = _cut(leaf.path, shapes)
        if cut is not None:
            prefixes.add(leaf.path[1:cut])
            repeated += leaf.tensor.shape == shapes[leaf.path[cut:]]
        elif math.prod(leaf.tensor.shape) == 1:
            counts = counts or leaf.tensor.dtype.startswith(_COUNTING)
        else:
            return False
    chained = all(any(part.isdecimal() for part in prefix[:-1]) for prefix in prefixes)
    return bool(prefixes) and all(prefixes) and (repeated > 0) and (counts or chained)


def _cut(path: Path, shapes: Mapping[Path, tuple[int, ...]]) -> int | None:
    """Where the path of a weight begins in `path`, the longest such; None where none does."""
    return next((cut for cut in range(1, len(path)) if path[cut:] in shapes), None)


def _counting(branches: Mapping[str, Sequence[_Leaf]]) -> list[_Leaf]:
    """Leaves of what holds nothing but whole numbers, one of them a single one: random streams and what counts them."""
    around: dict[Path, list[_Leaf]] = defaultdict(list)
    for found in branches.values():
        for leaf in found:
            around[leaf.path[:-1]].append(leaf)
    return [
        leaf
        for path, found in around.items()
        if path and all(each.tensor.dtype.startswith(_COUNTING) for each in found)
        if any(not each.tensor.shape for each in found)
        for leaf in found
    ]


def _optimizer(leaves: Sequence[_Leaf], weights: Sequence[_Leaf], branch: str) -> list[Aside]:
    owners = {weight.path[1:]: weight.key for weight in weights}
    shapes = {weight.path[1:]: weight.tensor.shape for weight in weights}
    cuts = {leaf.key: _cut(leaf.path, shapes) for leaf in leaves}
    prefixes = {leaf.path[1:cut] for leaf in leaves if (cut := cuts[leaf.key]) is not None}
    # `mu` says enough where it is one of a kind; two optimizers of a chain have one each.
    plain = len({prefix[-1:] for prefix in prefixes}) == len(prefixes)
    asides = []
    for leaf in leaves:
        cut = cuts[leaf.key]
        if cut is None:
            asides.append(Aside(leaf.key, "/".join(leaf.path), "state"))
            continue
        word = "/".join(leaf.path[cut - 1 : cut] if plain else leaf.path[1:cut]) or branch
        asides.append(Aside(leaf.key, word, "slot", owners[leaf.path[cut:]]))
    return asides


def _names(branches: Mapping[str, Sequence[_Leaf]], model: str | None) -> dict[str, str]:
    """Key -> the name by which a leaf is read: without the word for its collection where that tells nothing more."""
    wholes = {leaf.key: "/".join(_plain(leaf.path)) for found in branches.values() for leaf in found}
    collections = _collections(branches, model)
    short = {leaf.key: "/".join(_plain(leaf.path[1:])) for branch in collections for leaf in branches[branch]}
    names = {key: short.get(key, whole) for key, whole in wholes.items()}
    counts = Counter(names.values())
    names = {key: name if counts[name] == 1 else wholes[key] for key, name in names.items()}
    if len(set(names.values())) < len(names):
        return {key: key for key in names}
    return names


def _plain(path: Path) -> Path:
    """A path with the modules of Haiku's names as parts of it."""
    parts = [part for component in path for part in component.split("/")]
    return tuple(part for part in parts if part and part != CONSTRUCTED) or path


def _collections(branches: Mapping[str, Sequence[_Leaf]], model: str | None) -> list[str]:
    """Branches that are collections of one model: the model itself, and those whose layers are its layers too."""
    named = [name for name in branches if name]
    main = model if model in branches else None
    if main is None:
        usual = [name for name in _USUAL if name in named]
        main = usual[0] if usual else named[0] if len(named) == 1 else None
    if main is None or not any(len(leaf.path) > 2 for leaf in branches[main]):
        return []
    layers = _layers(branches[main])
    others = [name for name in named if name != main and _beside(branches[name], branches[main], layers)]
    return [main, *others]


def _layers(leaves: Sequence[_Leaf]) -> set[Path]:
    """Paths, below the branch, of all that holds leaves, and of what is around it."""
    return {path[:end] for leaf in leaves for path in [_plain(leaf.path[1:])[:-1]] for end in range(1, len(path) + 1)}


def _beside(leaves: Sequence[_Leaf], main: Sequence[_Leaf], layers: set[Path]) -> bool:
    """Whether the leaves of a branch belong into layers of the main one, and are not those again."""
    paths = [_plain(leaf.path[1:]) for leaf in leaves]
    again = {_plain(leaf.path[1:]) for leaf in main}
    inside = [any(path[:end] in layers for end in range(1, len(path))) for path in paths]
    return bool(paths) and all(inside) and not again & set(paths)
