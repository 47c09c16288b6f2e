"""Which objects of an object graph are optimizers, by what the frameworks' own hold: no word of an attribute makes one.

A module that counts its steps and has a learning rate may be anybody's training loop: its scalars are doubtful.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptkit.canonical.graph_walk import Walk
from ckptkit.canonical.slots import SETTINGS, is_counter, is_optimizer_scope
from ckptkit.model import StoredTensor

_INTEGERS = ("int", "uint", "bool")

# Keras (keras/src/optimizers/base_optimizer.py, tf_keras/src/optimizers/optimizer.py): what counts, and the lists beside it.
_ITERATIONS = "_iterations"
_LISTS = ("_trainable_variables", "_variables")

# Keras 2's until 2.10 (tf_keras/src/optimizers/legacy/optimizer_v2.py): each has these, in a scope of its own name.
_OLD = frozenset({"iter", "decay", "learning_rate"})

# Lists of slots of Sonnet's (sonnet/src/optimizers), and what Adam's counts in.
_SONNET = (
    frozenset({"m", "v"}),
    frozenset({"accumulated_momentum"}),
    frozenset({"mom", "ms"}),
    frozenset({"mom", "ms", "mg"}),
)
_STEP = "step"

# The state of a loss scale (tensorflow/python/training/experimental/loss_scale.py); the second one counts.
_LOSS_SCALE = frozenset({"current_loss_scale", "good_steps"})
_GOOD_STEPS = "good_steps"

# Scopes that an optimizer puts in front of a name; more are not tried.
_MOST_SCOPES = 6
_NO_SLOTS = -1

# What counts in an object that may be an optimizer.
_COUNTERS = ("iter", "iterations", _ITERATIONS, _STEP)
_POWERS = frozenset({"beta1_power", "beta2_power"})

Variables = Mapping[int, StoredTensor]


class Optimizers:
    """Tells which objects of a graph are optimizers; what several hold is looked at once."""

    def __init__(self, walked: Walk, variables: Variables, full_names: Mapping[int, str]) -> None:
        """Prepare.

        Args:
            walked: the walk over the graph.
            variables: node of each variable -> its tensor.
            full_names: node of each variable -> the name it was made with.
        """
        self._walked = walked
        self._variables = variables
        self._full_names = full_names
        self._names = {(name, variables[node].shape) for node, name in full_names.items() if name}
        self._slots: dict[int, int] = {}

    def has(self, place: int) -> bool:
        """Whether an object, by its node, is an optimizer or the state of a loss scale.

        It lists slots; or it counts in integers beside one of Keras's lists; or it has what every optimizer of Keras 2 has,
        made in an optimizer's scope, and nothing else; or its lists are of variables that are named after weights of their
        shape, as Sonnet names its slots.
        """
        node = self._walked.nodes[place]
        if node.slots:
            return True
        children = dict(node.children)
        if _counts(children.get(_ITERATIONS), self._variables) and any(name in children for name in _LISTS):
            return True
        if children.keys() == _LOSS_SCALE:
            return _counts(children[_GOOD_STEPS], self._variables) and all(map(self._is_scalar, children.values()))
        if children.keys() >= _OLD:
            return self._is_old(children)
        lists = children.keys() - {_STEP}
        if lists not in _SONNET or (_STEP in children and not _counts(children[_STEP], self._variables)):
            return False
        lengths = {self._slots_in(children[name]) for name in lists} - {0}
        return len(lengths) == 1 and lengths != {_NO_SLOTS}

    def _is_old(self, children: Mapping[str, int]) -> bool:
        scopes = {self._full_names.get(child, "").rpartition("/")[0] for child in children.values()}
        return (
            _counts(children["iter"], self._variables)
            and children.keys() <= {"iter", *SETTINGS}
            and all(map(self._is_scalar, children.values()))
            and len(scopes) == 1
            and is_optimizer_scope(next(iter(scopes)).rpartition("/")[2])
        )

    def _slots_in(self, place: int) -> int:
        """How many slots a list of Sonnet's holds; `_NO_SLOTS` for what is none."""
        if place not in self._slots:
            listed = variables_of(place, self._walked)
            empty = not self._walked.nodes[place].children and place not in self._variables
            fits = empty or (listed and all(map(self._follows, listed)))
            self._slots[place] = len(listed) if fits else _NO_SLOTS
        return self._slots[place]

    def _follows(self, node: int) -> bool:
        """Whether a variable's name ends with that of another one of its shape, behind scopes of its own."""
        if node not in self._variables:
            return False
        parts = self._full_names.get(node, "").split("/")
        ends = ("/".join(parts[skip:]) for skip in range(1, min(len(parts), _MOST_SCOPES)))
        return any((end, self._variables[node].shape) in self._names for end in ends)

    def _is_scalar(self, node: int) -> bool:
        return node in self._variables and not self._variables[node].shape


def doubtful_in(place: int, walked: Walk, variables: Variables) -> list[int]:
    """Scalars of an object that may be an optimizer's: it counts, and they are called as an optimizer's settings are."""
    children = dict(walked.nodes[place].children)
    if not children.keys() >= _POWERS and not any(_counts(children.get(name), variables) for name in _COUNTERS):
        return []
    return [
        child
        for name, child in children.items()
        if child in variables and not variables[child].shape and (name.lstrip("_") in SETTINGS or is_counter(name))
    ]


def variables_of(place: int, walked: Walk) -> list[int]:
    """What a list holds; empty for an object of another kind."""
    children = walked.nodes[place].children
    return [child for _, child in children] if all(name.isdigit() for name, _ in children) else []


def _counts(node: int | None, variables: Variables) -> bool:
    tensor = variables.get(node) if node is not None else None
    return tensor is not None and not tensor.shape and tensor.dtype.startswith(_INTEGERS)
