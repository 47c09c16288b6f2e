"""A part of a checkpoint: what lies below one scope, and the scope taken off its names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, Variable

_MOST_NEAR = 3


@dataclass(frozen=True, slots=True)
class Within:
    """What lies below a scope.

    Attributes:
        scope: the scope's components; () for the whole checkpoint.
        spec: the checkpoint with nothing else in it; its names are whole.
        outside: names of the variables that lie elsewhere.
    """

    scope: tuple[str, ...]
    spec: CheckpointSpec
    outside: tuple[str, ...] = ()

    def without(self, path: str) -> str:
        """`path` without the scope, where it lies below it."""
        return below(path, self.scope)


def below(path: str, scope: Sequence[str]) -> str:
    """`path` without `scope` at its front; a path that is the scope itself keeps its last component."""
    parts = path.split("/")
    if not scope or not _lies_below(parts, scope):
        return path
    return "/".join(parts[len(scope) :] or parts[-1:])


def within(spec: CheckpointSpec, scope: str | None, option: str) -> Within:
    """The part of `spec` below `scope`.

    A scope is compared by whole components: first with canonical layer paths, then with native keys, then with the
    other names that the file knows; the first of them that has it decides. Slots lie where their variables lie.

    Args:
        spec: the checkpoint.
        scope: `Online`, `bert/`, `model/encoder`; None for all of it.
        option: what a person called it by, for messages.

    Raises:
        UsageError: nothing lies below it; the hint has the nearest scopes.
    """
    if scope is None:
        return Within((), spec)
    wanted = tuple([part for part in scope.split("/") if part])
    if not wanted:
        raise UsageError("an empty scope", key=f"{option} {scope!r}", expected="one or more components of a path")
    weights = [variable for variable in spec.variables if variable.kind == "weight"]
    for names in (_paths, _keys, _aliases(spec)):
        chosen = {v.name for v in weights if any(_lies_below(name.split("/"), wanted) for name in names(v))}
        if chosen:
            break
    else:
        near = _nearest(wanted, [*_scopes(name for v in weights for name in (*_paths(v), *_keys(v)))])
        hint = f"Did you mean {' or '.join(near)}?" if near else f"`ckptkit inspect {spec.path}` lists the layers."
        raise UsageError("nothing lies below this scope", path=spec.path, key=f"{option} {scope}", hint=hint)
    for v in spec.variables:
        own = v.slot_of in chosen if v.kind == "slot" else _lies_below(v.name.split("/"), wanted)
        if v.kind != "weight" and own:
            chosen.add(v.name)
    outside = tuple([v.name for v in spec.variables if v.name not in chosen])
    return Within(wanted, restrict(spec, chosen), outside)


def restrict(spec: CheckpointSpec, names: Iterable[str]) -> CheckpointSpec:
    """`spec` with only the variables called `names`, and the layers that still have some."""
    kept = set(names)
    variables = tuple([variable for variable in spec.variables if variable.name in kept])
    if len(variables) == len(spec.variables):
        return spec
    layers = []
    for layer in spec.layers if variables else ():
        own = tuple([name for name in layer.variables if name in kept])
        if own:
            layers.append(layer if len(own) == len(layer.variables) else replace(layer, variables=own))
    return replace(spec, layers=tuple(layers), variables=variables)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Those of `known` that are spelled most alike, whatever their case."""
    lower: dict[str, str] = {}
    for each in known:
        lower.setdefault(each.lower(), each)
    return [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=_MOST_NEAR, cutoff=0.5)]


def _lies_below(parts: Sequence[str], scope: Sequence[str]) -> bool:
    return tuple(parts[: len(scope)]) == tuple(scope)


def _paths(variable: Variable) -> tuple[str, ...]:
    return (variable.layer or variable.name,)


def _keys(variable: Variable) -> tuple[str, ...]:
    return (variable.key,)


def _aliases(spec: CheckpointSpec) -> Callable[[Variable], tuple[str, ...]]:
    of_layer = {layer.name: layer.aliases for layer in spec.layers}
    return lambda variable: (*variable.aliases, *of_layer.get(variable.layer, ()))


def _scopes(names: Iterable[str]) -> dict[str, None]:
    """Every scope that some name lies below."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split("/")
        for length in range(1, len(parts)):
            found["/".join(parts[:length])] = None
    return found


def _nearest(wanted: tuple[str, ...], scopes: Sequence[str]) -> list[str]:
    """The scopes that end as `wanted` does, further in; else those that have its word in theirs, or are spelled alike."""
    tail = "/" + "/".join(wanted).lower()
    inner = [scope for scope in scopes if f"/{scope.lower()}".endswith(tail)]
    inner = inner or [scope for scope in scopes if wanted[-1].lower() in scope.lower().rpartition("/")[2]]
    return inner[:_MOST_NEAR] or nearest("/".join(wanted), scopes)
