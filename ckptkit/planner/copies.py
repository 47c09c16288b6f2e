"""Whether a source holds one network several times: `Online/` beside `Target/`, `pi/` beside `oldpi/`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ckptkit.matching.result import Match
    from ckptkit.model import CheckpointSpec

_Shape = tuple[int, ...]

# A network lies no deeper than so many scopes.
_DEEPEST = 4


def copies_of(spec: CheckpointSpec) -> list[tuple[str, ...]]:
    """Scopes below each of which lie at least two layers of the very same shapes, the outermost ones first."""
    weights = [variable for variable in spec.variables if variable.kind == "weight"]
    below: dict[tuple[str, ...], list[_Shape]] = defaultdict(list)
    layers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for variable in weights:
        path = (variable.layer or variable.name).split("/")
        for depth in range(1, min(len(path), _DEEPEST + 1)):
            below[tuple(path[:depth])].append(variable.shape)
            layers[tuple(path[:depth])].add(variable.layer or variable.name)
    alike: dict[tuple[int, tuple[_Shape, ...]], list[tuple[str, ...]]] = defaultdict(list)
    for scope, shapes in below.items():
        if len(layers[scope]) > 1:
            alike[len(scope), tuple(sorted(shapes))].append(scope)
    found = [group for group in alike.values() if len(group) > 1]
    found.sort(key=lambda group: len(group[0]))
    return [tuple("/".join(scope) for scope in group) for group in found]


class Copies:
    """The copies in one source, and what each of them holds."""

    def __init__(self, spec: CheckpointSpec, wanted: Sequence[_Shape]) -> None:
        """Find them.

        Args:
            spec: the source.
            wanted: shapes that are looked for; what has not all of them is no copy that could be meant.
        """
        shapes = {variable.name: variable.shape for variable in spec.variables if variable.kind == "weight"}
        needed = Counter(wanted)
        self._groups = []
        for group in copies_of(spec):
            # Copies hold the same: what one has, all have.
            held = Counter(shape for name, shape in shapes.items() if name.startswith(f"{group[0]}/"))
            if needed <= held:
                self._groups.append(group)

    def between(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Scopes of the copies among which these candidates for one another's places lie; () for none."""
        names = list(sources)
        for group in self._groups:
            if all(name.startswith(tuple(f"{scope}/" for scope in group)) for name in names):
                held = tuple(scope for scope in group if any(name.startswith(f"{scope}/") for name in names))
                if len(held) > 1:
                    return held
        return ()


def mixed_copies(match: Match, source: CheckpointSpec, target: CheckpointSpec) -> tuple[str, ...]:
    """Scopes of copies in the source, of several of which there are pairs although the target has no copies; () for none."""
    used = [name for pair in match.pairs for name in pair.source]
    theirs = max(map(len, copies_of(target)), default=1)
    for group in copies_of(source):
        held = tuple(scope for scope in group if any(name.startswith(f"{scope}/") for name in used))
        # Blocks of one network are alike too: of them all are used.
        if theirs < len(held) < len(used) and len(held) == len(group) and _left(match, group):
            return held
    return ()


def _left(match: Match, scopes: Sequence[str]) -> bool:
    """Whether something below every one of the scopes goes nowhere."""
    names = [item.name for item in match.unexpected]
    return all(any(name.startswith(f"{scope}/") for name in names) for scope in scopes)
