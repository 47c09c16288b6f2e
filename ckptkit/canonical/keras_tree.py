"""The tree in which Keras 3 keeps a model's variables by their paths (`trainable_variables/dense/kernel`).

The tree is sorted by the alphabet; the architecture beside it tells the order of the layers. Without it the paths do.

Source: keras/src/trainers/trainer.py, `get_state_tree`, and keras/src/callbacks/orbax_checkpoint.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit.canonical.architecture import Node, parse_architecture, preorder, serialised_names
from ckptkit.canonical.draft import Aside, MapDraft
from ckptkit.canonical.keras_legacy import draft_legacy
from ckptkit.canonical.naming import natural_key
from ckptkit.canonical.rekeyed import draft_by_names
from ckptkit.canonical.wrapped import PROJECTIONS
from ckptkit.model import Contents, Kind, LegacyGroup, LegacyKeras, StoredTensor, Tree

TRAINED, UNTRAINED, OPTIMIZER, METRICS = (
    "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables",
)  # fmt: skip
_ROOTS = frozenset({TRAINED, UNTRAINED, OPTIMIZER, METRICS})

_SEEDS = "seed_generator_state"

# Parts that Keras makes itself inside of one layer, in its order; the first two are followed by the name of what they copy.
_BUILT = ("forward", "backward", *PROJECTIONS.values())

# The scope of Keras's optimizer around another (keras/src/optimizers/loss_scale_optimizer.py).
_SCALED = "loss_scale_optimizer"


@dataclass(frozen=True, slots=True)
class _Weight:
    """A variable of a model: key, path, and whether it is trained."""

    key: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        return "/".join(self.path)


def is_keras(tree: Tree) -> bool:
    """Whether a tree is one that Keras keeps of a model: its roots are Keras's, and some of it is weights."""
    roots = {leaf.path[0] for leaf in tree.leaves if leaf.path}
    return bool(roots & {TRAINED, UNTRAINED}) and roots <= _ROOTS


def draft_keras_tree(contents: Contents, tree: Tree) -> MapDraft:
    """Layers in the order of the architecture, or by their names where there is none."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    found: dict[str, list[_Weight]] = {root: [] for root in _ROOTS}
    for leaf in tree.leaves:
        found[leaf.path[0]].append(_Weight(leaf.key, leaf.path[1:]))
    weights = [*found[TRAINED], *found[UNTRAINED]]
    seeds = [weight for weight in weights if _is_seed(weight, tensors)]
    weights = [weight for weight in weights if weight not in seeds]
    asides = [Aside(weight.key, weight.name, "state") for weight in seeds]
    asides += [Aside(weight.key, f"metrics/{weight.name}", "state") for weight in found[METRICS]]
    asides += _optimizer(found[OPTIMIZER], found[TRAINED], tensors)
    root = parse_architecture(tree.config)
    draft = _by_architecture(contents, tree, root, weights) if root else None
    if draft is None:
        draft = draft_by_names(contents, {weight.key: weight.name for weight in weights})
    draft = replace(draft, dialects=("keras3", "keras2"))
    return replace(draft, asides=(*draft.asides, *asides))


def with_flags(tensors: Sequence[StoredTensor], tree: Tree) -> tuple[StoredTensor, ...]:
    """`tensors` with what the roots of the tree say of them: whether they are trained."""
    roots = {leaf.key: leaf.path[0] for leaf in tree.leaves if leaf.path}
    flags = {TRAINED: True, UNTRAINED: False}
    return tuple(replace(each, trainable=flags.get(roots.get(each.key, ""), each.trainable)) for each in tensors)


def _is_seed(weight: _Weight, tensors: Mapping[str, StoredTensor]) -> bool:
    tensor = tensors.get(weight.key)
    return weight.path[-1:] == (_SEEDS,) and tensor is not None and tensor.dtype.startswith(("int", "uint"))


def _by_architecture(contents: Contents, tree: Tree, root: Node, weights: Sequence[_Weight]) -> MapDraft | None:
    """As the legacy layout is read, which has the same names in groups; None where names and architecture do not meet."""
    names = {child.name: child for child in root.children}
    groups: dict[str, list[_Weight]] = {child.name: [] for child in root.children}
    beside: list[_Weight] = []
    inner = _inner(root)
    for weight in weights:
        group = next((part for part in weight.path[:2] if part in groups), None)
        if group is None:
            # A model that was made from its architecture has no names around the layers in its models and wrappers.
            at = next((at for at, part in enumerate(weight.path[:-1]) if part in inner), 0)
            around = inner.get(weight.path[at], ())
            group = next((part for part in around[:1] if part in groups), None)
            weight = replace(weight, path=(*around, *weight.path[at:])) if group is not None else weight  # noqa: PLW2901
        (groups[group] if group is not None and len(weight.path) > 1 else beside).append(weight)
    if not any(groups.values()):
        return None
    legacy = LegacyKeras(
        groups=tuple(
            LegacyGroup(name, tuple((weight.name, weight.key) for weight in _in_order(found, names[name])))
            for name, found in groups.items()
        ),
        keras_version="3",
        backend=None,
        config=tree.config,
        top_level=tuple((weight.name, weight.key) for weight in beside),
    )
    draft = draft_legacy(contents, legacy)
    return replace(draft, order_source="config", keep_order=False)


def _inner(root: Node) -> dict[str, tuple[str, ...]]:
    """Names of layers inside of others, of which no other layer has one -> path of what they lie in."""
    found: dict[str, tuple[str, ...]] = {}
    counts: Counter[str] = Counter()
    for node in preorder(root):
        path = tuple(node.path.split("/")) if node is not root else ()
        listed = {part.name for part in (*node.children, *node.parts.values())}
        counts.update(listed)
        if node is not root and not node.is_model:
            listed |= {name for name in serialised_names(node.config) if name not in counts and name not in found}
        found |= dict.fromkeys(listed, path)
    return {name: path for name, path in found.items() if path and counts[name] < 2}


def _in_order(weights: Sequence[_Weight], node: Node) -> list[_Weight]:
    """The weights of one layer with its parts in the order in which they were built, not in that of the alphabet."""
    parts = {name: place for place, name in enumerate(serialised_names(node.config))}

    def rank(part: str) -> tuple[int, int]:
        if part in parts:
            return 0, parts[part]
        built = next((place for place, word in enumerate(_BUILT) if part == word or part.startswith(f"{word}_")), None)
        return (1, built) if built is not None else (2, 0)

    return sorted(
        weights, key=lambda weight: ([rank(part) for part in weight.path[:-1]], natural_key("/".join(weight.path[:-1])))
    )


def _optimizer(
    variables: Sequence[_Weight], trained: Iterable[_Weight], tensors: Mapping[str, StoredTensor]
) -> list[Aside]:
    """Slots, which are called after the path of their weight with `_` between its parts, and counters."""
    owners: dict[str, str | None] = {}
    for weight in trained:
        name = "_".join(weight.path)
        owners[name] = None if name in owners else weight.key  # two weights of one name: it tells neither
    scaled = any(variable.path[0].startswith(_SCALED) for variable in variables if variable.path)
    asides = []
    for variable in variables:
        word = variable.path[-1] if variable.path else ""
        owner, slot = _owner(word, owners)
        if owner is not None:
            asides.append(Aside(variable.key, slot, "slot", owner))
            continue
        tensor = tensors.get(variable.key)
        kind: Kind = "slot" if tensor is not None and tensor.shape else "state"
        inner = "inner_optimizer/" if scaled and not variable.path[0].startswith(_SCALED) else ""
        name = "/".join((*variable.path[1:-1], "iterations" if word == "iteration" else word))
        asides.append(Aside(variable.key, f"optimizer/{inner}{name}", kind))
    return asides


def _owner(word: str, owners: Mapping[str, str | None]) -> tuple[str | None, str]:
    """Key of the weight whose name `word` begins with, the longest such, and what follows."""
    cut = len(word)
    while (cut := word.rfind("_", 0, cut)) > 0:
        if word[:cut] in owners:
            return owners[word[:cut]], word[cut + 1 :]
    return None, word
