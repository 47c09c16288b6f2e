"""What stands beside a layer in its scope, as further words of its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from ckptkit.matching.labels import Label, split_component

# A scope of more layers than these is no neighbourhood.
_MOST = 12


def with_neighbours(
    names: Sequence[str], labels: Sequence[Sequence[Label]], classes: Sequence[int], wanted: Collection[int]
) -> list[list[Label]]:
    """The labels, with the words of what lies in the same scope and is of another class added to those of `wanted`.

    A layer of the same class beside it is what it has to be told from, so that its words stay out.

    Args:
        names: paths of one side.
        labels: their labels.
        classes: their classes.
        wanted: the layers whose labels are widened.
    """
    scopes: dict[str, list[int]] = defaultdict(list)
    parents = {names[index].rpartition("/")[0] for index in wanted}
    for index, name in enumerate(names):
        scope = name
        while scope:
            scope = scope.rpartition("/")[0]
            if scope in parents:
                scopes[scope].append(index)
    found = [list(own) for own in labels]
    for index in wanted:
        parent = names[index].rpartition("/")[0]
        beside = scopes.get(parent, ()) if parent else ()
        if 1 < len(beside) <= _MOST:
            words = {
                word
                for other in beside
                if classes[other] != classes[index]
                for word in split_component(names[other][len(parent) + 1 :].partition("/")[0])[0]
            }
            own = labels[index][0]
            further = sorted(words - set(own.pattern) - {"#"})
            if further:
                found[index] = [Label((*own.pattern, *further), own.numbers, own.counter, own.counted)]
    return found
