"""What to change, by framework and by how the variable is held. Consulted only after a loss was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.frameworks import TITLES, is_keras

if TYPE_CHECKING:
    from ckptkit.auditing.findings import Facts
    from ckptkit.auditing.holders import Holder
    from ckptkit.auditing.links import Link

# What a user's own code calls to make a variable; everything else is the class of a layer that made it.
OWN_CALLS = ("tf.Variable", "keras.Variable", "add_weight", "add_variable", "get_variable", "get_local_variable")

# Links that no framework's saver walks, in words: (where it is held, what to do).
_HIDING: dict[Link, tuple[str, str]] = {
    "set": ("in a set", "savers cannot walk it, and its order changes from run to run; use a list"),
    "deque": ("in a deque", "nothing walks it; use a list"),
    "closure": ("in a function's closure", "nothing walks it; assign it to an attribute of the layer (self.name = …)"),
    "default": ("in a function's default argument", "nothing walks it; assign it to an attribute of the layer"),
    "global": ("in a global name", "nothing walks it; pass it in and assign it to an attribute of the layer"),
    "partial": ("in a functools.partial", "nothing walks it; assign it to an attribute of the layer"),
    "cache": (
        "in a function's cache",
        "nothing walks it; make it once, in __init__ or build, and assign it to an attribute",
    ),
    "generator": ("in a generator", "nothing walks it; make a list of it and assign that to an attribute"),
    "iterator": ("in an iterator", "nothing walks it; make a list of it and assign that to an attribute"),
    "weakref": ("behind a weak reference", "nothing follows it; assign the object itself to an attribute"),
    "class attribute": (
        "in an attribute of the class",
        "tracking sees instances only; assign it in __init__ (self.name = …)",
    ),
    "object": ("in a plain object", "nothing walks it; derive its class from {base}"),
}


def is_hidden(holder: Holder) -> bool:
    """Whether some link of the path is of a kind that no framework walks."""
    return any(link in _HIDING for link in holder.links)


_BASES = {
    "keras": "keras.layers.Layer (and make its variables with self.add_weight)",
    "tf_keras": "tf_keras.layers.Layer or tf.Module",
    "sonnet": "snt.Module",
    "tf.Module": "tf.Module",
}
_CONTAINERS: tuple[Link, ...] = ("list", "dict", "tuple")


def made_each_call(facts: Facts, framework: str) -> str:
    """For what every call makes anew."""
    if facts.made_by is None or facts.made_by in OWN_CALLS:
        if is_keras(framework):
            return 'Make it once, in build, with self.add_weight(shape=…, name="w"), and only use it here.'
        return "Make it once, in __init__ or behind `if self.w is None` (Sonnet: @snt.once), and only use it here."
    return f"Make the layer in __init__ (self.layer = {facts.made_by}(…)) and only call it here."


def foreign(container: str, inside: str) -> str:
    """For a layer of one framework inside another's container."""
    fitting = {
        "keras": "a keras.layers layer",
        "tf_keras": "a tf_keras.layers layer",
        "sonnet": "a Sonnet module" + (", or one of tf_keras" if inside == "keras" else ""),
        "tf.Module": "a tf.Module" + (", such as a tf_keras layer" if inside == "keras" else ""),
    }[container]
    return f"{TITLES[container]} does not look into {TITLES[inside]} objects: use {fitting} in its place."


def hidden(facts: Facts, framework: str, holder: Holder | None) -> str:
    """For what is not among the weights."""
    if holder is None:
        return "Nothing that belongs to the model holds it: assign it to an attribute of the layer that uses it."
    for step in holder.steps:
        if step.link in _HIDING:
            where, fix = _HIDING[step.link]
            return f"Held {where}: {fix.format(base=_BASES[framework])}."
    links = [link for link in holder.links if link in _CONTAINERS]
    if framework == "keras" and facts.made_by in ("tf.Variable", "get_variable"):
        return 'Keras 3 does not track a tf.Variable: use self.add_weight(shape=…, initializer=…, name="w").'
    if links:
        return f"Held in a {' of a '.join(reversed(links))}: assign each item to an attribute of its own."
    if framework == "keras" and holder.owner:
        return (
            f"Keras 3 does not see it where {holder.owner} holds it: make it with self.add_weight, or assign its layer "
            "in __init__."
        )
    return "Assign it, or the layer that owns it, to an attribute in __init__ with tracking on."


SAME_NAME = "Two weights have this name, and the saver keeps one of them: give each its own (name=…)."


def lost(facts: Facts, framework: str, holder: Holder | None, by: tuple[str, ...]) -> str:
    """For what is among the weights and does not come back by the savers `by`."""
    links = [] if holder is None else [link for link in holder.links if link in (*_CONTAINERS, *_HIDING)]
    if any(link in _HIDING for link in links):
        return hidden(facts, framework, holder)
    if framework == "keras" and by == ("checkpoint",):
        if links:
            return (
                f"tf.train.Checkpoint does not walk Keras 3's {' in a '.join(reversed(links))}: give each layer an "
                "attribute of its own (setattr(self, f'block_{i}', layer)), or save with save_weights."
            )
        return (
            "tf.train.Checkpoint does not reach it: assign its layer to an attribute of its own, or save with "
            "save_weights."
        )
    if framework == "tf_keras" and "weights.h5" in by and len(links) > 1:
        return (
            f"tf_keras's .weights.h5 does not look into a {' in a '.join(reversed(links))}: use one flat list, or save "
            "as a TensorFlow checkpoint."
        )
    if framework == "tf_keras" and by == ("weights.h5",):
        return "Make it with self.add_weight, or its layer in __init__; or save as a TensorFlow checkpoint."
    if framework == "keras" and facts.method == "call":
        return "It is made only when the model runs, after loading: make it in __init__ or build."
    return f"{', '.join(by)} does not bring it back: assign its layer to an attribute of its own in __init__."


def saver_fails(problem: str) -> str:
    """For a saver that raises."""
    if "already exists" in problem or "name" in problem.lower():
        return "Two variables or layers have one name there: give each its own (name=…)."
    return "Nothing is saved or restored this way until that is mended."


UNTRAINED = (
    "No gradient reaches it: look for stop_gradient, a cast to integers, argmax, .numpy() or a branch that is not "
    "taken; if that is meant, say trainable=False."
)
NO_LOSS = "Give the outputs that depend on it a loss in compile; if that is meant, say trainable=False."
ORPHAN = "No call reads it: remove it, or use it where it was meant to be used."
STALE_TRAINABLE = "Call compile again after changing `trainable`; until then the old setting holds."
STALE_OPTIMIZER = (
    "Make a new optimizer and compile again after the layer was added or unfrozen: this one was built without its "
    "variables."
)
MERGED = "Nothing to change: a model that loads it computes the same. tf.train.Checkpoint keeps the factors apart."
