"""Which layers could hold each other's weights: readings compared, and layers put into classes of equal signatures."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Sequence
from dataclasses import dataclass

from ckptkit.matching.paths import LayerPath
from ckptkit.matching.units import Unit
from ckptkit.model import Form, Part, Variable

# Readings of one layer that are looked at: the likeliest first, and more than a dialect has rows for one set of shapes.
_MAX_FORMS = 12

_REAL = ("float", "bfloat")


@dataclass(frozen=True, slots=True)
class UnitFit:
    """Two units that can hold each other's weights.

    Attributes:
        forms: the readings under which they agree; None where variables are taken as they lie.
        absent: optional parts that only one of the two has.
    """

    forms: tuple[Form, Form] | None
    absent: int = 0


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why two units cannot hold each other's weights, in words that describe the first."""

    why: str


def number_class(dtype: str) -> str:
    """What a cast does not change: `real` for floating-point types, the dtype itself for all others."""
    return "real" if dtype.startswith(_REAL) else dtype


def parts_of(form: Form) -> dict[str, Part]:
    """The parts that the layer holds, by role."""
    return {part.role: part for part in form.parts}


def compare_units(a: Unit, b: Unit) -> UnitFit | Misfit:
    """Whether, and under which readings, the weights of `a` and `b` fit each other.

    Args:
        a: a unit of the source.
        b: a unit of the target.
    """
    if _same_reading(a, b):
        return UnitFit(None)
    if {number_class(variable.dtype) for variable in a.weights} != {number_class(v.dtype) for v in b.weights}:
        return Misfit(f"another dtype {', '.join(sorted({variable.dtype for variable in a.weights}))}")
    if not (a.forms and b.forms):
        return _compare_plain(a, b)
    fits: list[tuple[tuple[bool, int, int], UnitFit]] = []
    # Variables are taken as they lie by what they are called; where one file tells only their places, the rows tell.
    called_alike = leaves(a).keys() == leaves(b).keys()
    why = ""
    for rank_a, form_a in enumerate(a.forms[:_MAX_FORMS]):
        for rank_b, form_b in enumerate(b.forms[:_MAX_FORMS]):
            found = _compare_forms(form_a, form_b)
            if isinstance(found, Misfit):
                why = why or found.why
                continue
            if found.forms is None and not called_alike:
                found = UnitFit((form_a, form_b), found.absent)
                fits.append(((False, rank_a + rank_b, 0), found))
            else:
                fits.append(((found.absent > 0, rank_a + rank_b, int(found.forms is not None)), found))
    if not fits:
        return Misfit(why)
    best = min(fits, key=lambda fit: fit[0])[1]
    rivals = [role for _, fit in fits if best.absent and fit.absent for role in _undecided(best, fit)]
    return Misfit(f"undecided which part it has: {', '.join(dict.fromkeys(rivals))}") if rivals else best


def _undecided(one: UnitFit, other: UnitFit) -> list[str]:
    """Roles that one reading by a row has and another reading of the same layer by the same row has not.

    Where nothing is absent on either side the target tells which it is; where something is, taking one would be luck.
    """
    if one.forms is None or other.forms is None:
        return []
    return [
        role
        for first, second in zip(one.forms, other.forms, strict=True)
        if first.row == second.row
        for role in sorted(parts_of(first).keys() ^ parts_of(second).keys())
    ]


def _same_reading(a: Unit, b: Unit) -> bool:
    """Whether the likeliest reading and every variable of two units are the same: the usual case, and a cheap test."""
    if len(a.weights) != len(b.weights) or bool(a.forms) != bool(b.forms):
        return False
    if a.forms:
        first, other = a.forms[0], b.forms[0]
        if first.row != other.row or first.assumed != other.assumed or first.options != other.options:
            return False
        if first.parts != other.parts or first.dims != other.dims:
            return False
    return all(
        v.shape == w.shape and v.dtype == w.dtype and v.role == w.role and (v.role is not None or v.name == w.name)
        for v, w in zip(a.weights, b.weights, strict=True)
    )


def _compare_forms(a: Form, b: Form) -> UnitFit | Misfit:
    if a.kind != b.kind:
        return Misfit(f"another kind of layer, {a.kind}")
    parts_a, parts_b = parts_of(a), parts_of(b)
    for role, part in parts_a.items():
        other = parts_b.get(role)
        if other is not None and other.shape != part.shape:
            return Misfit(f"another shape {list(part.shape)} of {role}")
    options = _differing_option(a, b)
    if options:
        return Misfit(f"another option {options}")
    absent = parts_a.keys() ^ parts_b.keys()
    needed = [role for role in sorted(absent) if not (parts_a.get(role) or parts_b[role]).optional]
    if needed or not parts_a.keys() & parts_b.keys():
        return Misfit(f"other parts: {', '.join(needed or sorted(absent))} on one side only")
    plain = a.row == b.row and a.assumed == b.assumed and a.dims == b.dims
    return UnitFit(None if plain and not absent else (a, b), len(absent))


def _differing_option(a: Form, b: Form) -> str:
    options_b = dict(_option(text) for text in b.options)
    for text in a.options:
        key, value = _option(text)
        if options_b.get(key, value) != value:
            return text
    return ""


def _option(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _compare_plain(a: Unit, b: Unit) -> UnitFit | Misfit:
    leaves_a, leaves_b = _shapes(a), _shapes(b)
    if leaves_a == leaves_b:
        return UnitFit(None)
    if leaves_a.keys() != leaves_b.keys():
        return Misfit(f"other variables: {', '.join(sorted(leaves_a.keys() ^ leaves_b.keys()))} on one side only")
    leaf = next(leaf for leaf, shape in leaves_a.items() if leaves_b[leaf] != shape)
    return Misfit(f"another shape {list(leaves_a[leaf])}")


def leaves(unit: Unit) -> dict[str, Variable]:
    """The unit's variables by what they are called within it: role, or name below its path where roles do not tell.

    A variable that is all there is at its path goes by its own name without TensorFlow's number (`Variable_1`).
    """
    roles = [variable.role for variable in unit.weights]
    found = {}
    for variable in unit.weights:
        role = variable.role
        if role is not None and roles.count(role) == 1:
            found[role] = variable
        elif variable.name != unit.original:
            found[variable.name.removeprefix(f"{unit.original}/")] = variable
        else:
            word = variable.name.rpartition("/")[2]
            base, _, counter = word.rpartition("_")
            found[base if base and counter.isdigit() else word] = variable
    return found


def _shapes(unit: Unit) -> dict[str, tuple[int, ...]]:
    return {leaf: variable.shape for leaf, variable in leaves(unit).items()}


def classify(
    a: Sequence[Unit],
    b: Sequence[Unit],
    paths_a: Sequence[LayerPath],
    paths_b: Sequence[LayerPath],
    *,
    loose: bool = False,
) -> tuple[list[int], list[int]]:
    """Number the units so that those which could fit each other have equal numbers.

    Units with several readings join the classes of all of them; `compare_units` decides on a pair. Halves of
    bidirectional layers are kept apart where every member of a class says which one it is.

    Args:
        a: units of the source.
        b: units of the target.
        paths_a: their paths.
        paths_b: their paths.
        loose: leave optional parts out of the signature.

    Returns:
        The numbers of a's and of b's units.
    """
    numbers: dict[Hashable, int] = {}
    parents: list[int] = []

    def find(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    # A unit that nobody knows is compared by its variables alone, and so is whatever looks like it.
    unknown = frozenset([_plain_key(unit) for unit in (*a, *b) if not unit.forms])
    told = _told_by_all(form for unit in (*a, *b) for form in unit.forms[:_MAX_FORMS])

    def number(unit: Unit) -> int:
        first = -1
        for key in _keys(unit, unknown, told, loose):
            node = numbers.setdefault(key, len(parents))
            if node == len(parents):
                parents.append(node)
            if first < 0:
                first = find(node)
            else:
                parents[find(node)] = first
        return first

    sides = [[number(unit) for unit in side] for side in (a, b)]
    rooted = [[find(node) for node in side] for side in sides]
    undirected = {root for side, paths in zip(rooted, (paths_a, paths_b), strict=True)
                  for root, path in zip(side, paths, strict=True) if not path.direction}  # fmt: skip
    found: dict[Hashable, int] = {}
    numbered = [
        [found.setdefault((root, "" if root in undirected else path.direction), len(found)) for root, path in pairs]
        for pairs in (zip(rooted[0], paths_a, strict=True), zip(rooted[1], paths_b, strict=True))
    ]
    return numbered[0], numbered[1]


def signature(unit: Unit) -> Hashable:
    """All of a unit that `compare_units` looks at."""
    forms = tuple(
        [(form.row, form.kind, form.parts, tuple(form.dims.items()), form.assumed, form.options) for form in unit.forms]
    )
    return forms, tuple([(leaf, v.shape, v.dtype, v.role) for leaf, v in leaves(unit).items()])


def _plain_key(unit: Unit) -> Hashable:
    return (_numeric(unit), frozenset(_shapes(unit).items()))


def _numeric(unit: Unit) -> frozenset[str]:
    return frozenset([number_class(variable.dtype) for variable in unit.weights])


def _told_by_all(forms: Iterable[Form]) -> frozenset[str]:
    """Kinds of which every reading answers the same questions, so that the answers belong to the signature."""
    questions: dict[str, set[frozenset[str]]] = {}
    for form in forms:
        questions.setdefault(form.kind, set()).add(frozenset([_option(text)[0] for text in form.options]))
    return frozenset([kind for kind, asked in questions.items() if len(asked) == 1])


def _keys(unit: Unit, unknown: Container[Hashable], told: Container[str], loose: bool) -> Iterable[Hashable]:
    if unknown and (plain := _plain_key(unit)) in unknown:
        yield plain
    numeric = _numeric(unit)
    for form in unit.forms[:_MAX_FORMS]:
        parts = frozenset([(part.role, part.shape) for part in form.parts if not (loose and part.optional)])
        yield (form.kind, numeric, parts, frozenset(form.options) if form.kind in told else None)
