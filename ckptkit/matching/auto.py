"""Matching on all evidence: names first, then what only the order or the graph says."""

from __future__ import annotations

import itertools
from collections.abc import Container

from ckptkit.matching.atoms import Atom, all_atoms, atom_pair, atom_tie, classify_atoms, compatible
from ckptkit.matching.draft import MatchDraft
from ckptkit.matching.followers import pair_followers
from ckptkit.matching.graph import turned_round
from ckptkit.matching.labels import Label, read_labels, rewritten, unglue
from ckptkit.matching.neighbours import with_neighbours
from ckptkit.matching.orders import Orders
from ckptkit.matching.result import Ambiguous, Pair
from ckptkit.matching.sequence import pair_by_order
from ckptkit.matching.signatures import signature
from ckptkit.matching.units import Side, Unit
from ckptkit.matching.vocabulary import KIND_WORDS
from ckptkit.matching.weigh import Called, Edge, Verdict, call, weigh
from ckptkit.model import Variable

Labels = tuple[list[list[Label]], list[list[Label]]]

_NAME = ("name",)

_SHAPE = ("shape",)

# Equal names that a framework counted say that layers were made in the same order, and nothing else.
_COUNTED_NAME = ("name", "order of counters")

# Words that a pair is shown to rest on: those that tell most.
_TOLD = 3

# Keras's own list of layers in its files.
_LIST = "layers/"

_TURNED = "only shapes speak for it, and the two graphs call these layers in opposite order"

_SEVERAL = "equal roles and shapes, and neither names nor order tell them apart"


def match_auto(draft: MatchDraft) -> None:
    """Pair units on all the evidence that names and order give."""
    pairs = _equal_names(draft)
    if len(pairs) == len(draft.a.units) == len(draft.b.units) and _in_order(pairs):
        counted = [label.counter is not None for label in _own_labels(draft.b)]
        otherwise = _counted_otherwise(draft, {i: j for i, j in pairs.items() if counted[j]})
        for i, j in pairs.items():
            if not (otherwise and counted[j]):
                draft.link(i, j, _COUNTED_NAME if counted[j] else _NAME)
        if draft.settled:
            return
    labels = side_labels(draft.a, draft.b)
    _round(draft, labels, draft.classes())
    if not draft.settled:
        _round(draft, labels, draft.untied_classes(loose=True))


def match_names_alone(draft: MatchDraft) -> None:
    """Pair units by what their names say, counters among it; what they do not tell apart is tied."""
    labels = side_labels(draft.a, draft.b)
    _round(draft, labels, draft.classes(), names_alone=True)
    if not draft.settled:
        _round(draft, labels, draft.untied_classes(loose=True), names_alone=True)


def _round(
    draft: MatchDraft, labels: Labels, numbers: tuple[list[int], list[int]], *, names_alone: bool = False
) -> None:
    """Pair what is free by names, then what they leave open by order; what neither tells apart is tied."""
    free = (
        [number >= 0 and i not in draft.links for i, number in enumerate(numbers[0])],
        [number >= 0 and j not in draft.taken for j, number in enumerate(numbers[1])],
    )
    called = units_called(draft.a, labels[0]), units_called(draft.b, labels[1])
    verdict = weigh(
        labels[0], numbers[0], labels[1], numbers[1], draft.fits, free, called, _known(draft, called), _meant(draft)
    )
    shown = {
        i: evidence_of(found.edge, same=draft.a.units[i].name == draft.b.units[found.target].name)
        for i, found in verdict.pairs.items()
    }
    turned = turned_round({i: verdict.pairs[i].target for i in shown if shown[i] == _SHAPE}, draft.a, draft.b)
    draft.tie(turned, [verdict.pairs[i].target for i in turned], _TURNED)
    for i, found in verdict.pairs.items():
        evidence = shown[i]
        words = called[0][i].words, called[1][found.target].words
        if evidence != _SHAPE or not (
            bool(words[0] | words[1]) and words[0].isdisjoint(words[1])
            if names_alone
            else _unknown(draft.a.units[i], draft.b.units[found.target], *words)
        ):
            draft.link(i, found.target, evidence, found.margin)
    if verdict.open:
        verdict = _with_neighbours(draft, labels, numbers, verdict, called)
    if not verdict.open:
        return
    known = dict(draft.edges)
    orders = Orders(draft.a, labels[0], numbers[0]), Orders(draft.b, labels[1], numbers[1])
    left = []
    for own, other in verdict.open:
        ordered = None
        if len(own) == len(other) and (not names_alone or (orders[0].counted(own) and orders[1].counted(other))):
            ordered = pair_by_order(own, other, orders, numbers, known)
        if ordered is None:
            left.append((own, other))
        else:
            for i, j in ordered[0].items():
                draft.link(i, j, (ordered[1],))
    if left and not names_alone:
        pair_followers(draft, orders, numbers, {numbers[0][i] for own, _ in left for i in own})
    for own, other in left:
        # By names alone, layers whose users called them by no common word are strangers, and no question.
        if not names_alone or not _strangers(own, other, called):
            draft.tie(own, other, _SEVERAL)


def _strangers(own: list[int], other: list[int], called: tuple[list[Called], list[Called]]) -> bool:
    """Whether users named all of two groups, and no name of the one has a word of the other's."""
    words = [[called[0][i].words for i in own], [called[1][j].words for j in other]]
    return all(map(all, words)) and frozenset().union(*words[0]).isdisjoint(frozenset().union(*words[1]))


def _unknown(a: Unit, b: Unit, words_a: frozenset[str], words_b: frozenset[str]) -> bool:
    """Whether nobody knows either of two units, so that it is no sign that they have one shape.

    It is where one of them is called nothing in particular (`Variable_7`) and it is more than a vector.
    """
    if a.forms or b.forms:
        return False
    return bool(words_a and words_b) or all(len(variable.shape) < 2 for variable in a.weights)


def _with_neighbours(
    draft: MatchDraft,
    labels: Labels,
    numbers: tuple[list[int], list[int]],
    verdict: Verdict,
    called: tuple[list[Called], list[Called]],
) -> Verdict:
    """Weigh what is open once more, by what stands beside each in its scope: a normalisation beside `SelfAttention`."""
    open_a, open_b = ({index for group in verdict.open for index in group[side]} for side in (0, 1))
    free = [i in open_a for i in range(len(numbers[0]))], [j in open_b for j in range(len(numbers[1]))]
    wider = (
        with_neighbours([unit.name for unit in draft.a.units], labels[0], numbers[0], open_a),
        with_neighbours([unit.name for unit in draft.b.units], labels[1], numbers[1], open_b),
    )
    if wider == labels:
        return verdict
    found = weigh(wider[0], numbers[0], wider[1], numbers[1], draft.fits, free, called, _known(draft, called))
    for i, pair in found.pairs.items():
        evidence = (*evidence_of(pair.edge, same=False), "neighbours") if pair.edge.words else _SHAPE
        draft.link(i, pair.target, evidence, pair.margin)
    return found


def _meant(draft: MatchDraft) -> set[int]:
    """The layers of the source that a rule has renamed."""
    return {i for i, unit in enumerate(draft.a.units) if unit.name != unit.original}


def _known(draft: MatchDraft, called: tuple[list[Called], list[Called]]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """The words of both sides of every pair there is."""
    return [(called[0][i].words, called[1][link.target].words) for i, link in draft.links.items()]


def units_called(side: Side, labels: list[list[Label]]) -> list[Called]:
    """What their users called the units of one side."""
    return [
        call(own[0], [variable.shape for variable in unit.weights])
        for own, unit in zip(labels, side.units, strict=True)
    ]


def evidence_of(edge: Edge, *, same: bool) -> tuple[str, ...]:
    """What a pair is shown to rest on."""
    if same:
        return ("name",)
    found = []
    if edge.words or (edge.sided and not edge.numbers):
        told = [one if one == other else f"{one} = {other}" for one, other in (edge.words or edge.sided)[:_TOLD]]
        found.append(f"words: {', '.join(dict.fromkeys(told))}")
    if edge.numbers:
        found.append(f"numbers: {', '.join(f'{one} = {other}' for one, other in edge.numbers)}")
    return tuple(found) or _SHAPE


def match_atoms(
    draft: MatchDraft, settled: tuple[Container[int], Container[int]]
) -> tuple[list[Pair], list[Ambiguous]]:
    """Pair the variables of layers that found no partner as a whole (those not in `settled`), by names alone."""
    atoms_a, free_a = all_atoms(draft.a, settled[0])
    atoms_b, free_b = all_atoms(draft.b, settled[1])
    if not any(free_a) or not any(free_b):
        return [], []
    labels = _atom_labels(atoms_a, atoms_b)
    classes = classify_atoms(atoms_a, atoms_b)
    called = _atoms_called(atoms_a), _atoms_called(atoms_b)
    own, other = side_labels(draft.a, draft.b)
    units = units_called(draft.a, own), units_called(draft.b, other)
    verdict = weigh(
        labels[0], classes[0], labels[1], classes[1], lambda i, j: compatible(atoms_a[i], atoms_b[j]),
        (free_a, free_b), called, _known(draft, units),
    )  # fmt: skip
    pairs = []
    kernels = {
        atoms_b[found.target].unit.name: atoms_a[i].variable
        for i, found in verdict.pairs.items()
        if len(atoms_a[i].variable.shape) > 1
    }
    for i, found in sorted(verdict.pairs.items(), key=lambda item: item[1].target):
        a, b = atoms_a[i], atoms_b[found.target]
        evidence = evidence_of(found.edge, same=a.unit.renamed(a.variable) == b.unit.renamed(b.variable))
        words = called[0][i].words, called[1][found.target].words
        kernel = kernels.get(b.unit.name)
        beside = _namesakes(a.variable, kernel) or _of_one_layer(a.variable, b.variable, kernel)
        if beside or evidence != _SHAPE or (len(a.variable.shape) > 1 and not _unknown(a.unit, b.unit, *words)):
            pairs.append(atom_pair(a, b, evidence, found.margin))
    ties = [atom_tie([atoms_a[i] for i in own], [atoms_b[j] for j in other], _SEVERAL) for own, other in verdict.open]
    return pairs, ties


def _namesakes(vector: Variable, kernel: Variable | None) -> bool:
    """Whether a vector is the bias of a kernel that has its name in another scope: `biases/out` of `weights/out`."""
    if kernel is None or vector.shape != kernel.shape[-1:]:
        return False
    return vector.name.rpartition("/")[2] == kernel.name.rpartition("/")[2]


def _of_one_layer(a: Variable, b: Variable, kernel: Variable | None) -> bool:
    """Whether two variables of one known role lie beside kernels that are a pair, in a layer that has a `logstd` more."""
    return kernel is not None and kernel.layer == a.layer and a.role is not None and a.role == b.role


def _atoms_called(atoms: list[Atom]) -> list[Called]:
    """What the layers of the atoms are called."""
    labels = read_labels([atom.unit.name for atom in atoms], [atom.unit.kind for atom in atoms])
    return [call(label, [atom.variable.shape]) for label, atom in zip(labels, atoms, strict=True)]


def _atom_labels(a: list[Atom], b: list[Atom]) -> Labels:
    names = [[atom.unit.renamed(atom.variable) for atom in a], [atom.unit.renamed(atom.variable) for atom in b]]
    sides = [[[label] for label in read_labels(own, [None] * len(own))] for own in names]
    parts = unglue(sides[0], sides[1])
    sides = [[[rewritten(label, parts) for label in own] for own in side] for side in sides]
    return sides[0], sides[1]


def side_labels(a: Side, b: Side) -> Labels:
    """The labels of both sides' units, each unit's own name first, words taken apart alike on both sides."""
    sides = []
    for side in (a, b):
        kinds = _kinds(side)
        own = [[label] for label in _own_labels(side)]
        further = [
            (index, alias)
            for index, unit in enumerate(side.units)
            for alias in unit.aliases
            if _names(alias, unit.name)
        ]
        named = read_labels([alias for _, alias in further], [kinds[index] for index, _ in further])
        called = {index for (index, _), label in zip(further, named, strict=True) if _says_more(label, own[index][0])}
        placed = {index for index, labels in enumerate(own) if labels[0].counter is not None and not labels[0].counted}
        listed = placed if placed <= called else frozenset()
        for (index, _), label in zip(further, named, strict=True):
            unit = side.units[index]
            # Keras counts by class what its user called something; so do lists, where the file has the layers' names as well.
            if f"{_LIST}{unit.name}" in unit.aliases or index in listed:
                own[index].insert(0, label)
            else:
                own[index].append(label)
        sides.append(own)
    parts = unglue(sides[0], sides[1])
    sides = [[[rewritten(label, parts) for label in own] for own in side] for side in sides]
    return sides[0], sides[1]


def _says_more(label: Label, place: Label) -> bool:
    """Whether a further name of a layer was given by its user and has words that its place in a list has not."""
    return label.counter is None and not call(label, ()).words <= call(place, ()).words


def _own_labels(side: Side) -> list[Label]:
    """The label of each unit's own name. A number at the end of a path of an object graph is a place in a list."""
    graph = side.order_source == "object-graph"
    places = {index for index, unit in enumerate(side.units) if graph and not _elsewhere(unit)}
    return read_labels([unit.name for unit in side.units], _kinds(side), places=places)


def _elsewhere(unit: Unit) -> bool:
    """Whether a file keeps a layer under another of its names (`model/layer_with_weights-3`), so that its own is no path."""
    key = unit.weights[0].key
    return not key.startswith(f"{unit.original}/") and any(key.startswith(f"{alias}/") for alias in unit.aliases)


def _kinds(side: Side) -> list[str | None]:
    """The class of each unit that frameworks make automatic names of.

    Keras calls a layer's group in its own lists by the class, whatever the layer is called: where both are one word, the name
    is automatic, also of a class that nobody knows.
    """
    found = []
    for unit in side.units:
        words = (_uncounted(alias[len(_LIST) :]) for alias in unit.aliases if alias.startswith(_LIST))
        found.append(unit.kind or next((word for word in words if word == _uncounted(unit.name)), None))
    return found


def _uncounted(name: str) -> str:
    """The last component of a path without a counter at its end."""
    base, _, number = name.rpartition("/")[2].rpartition("_")
    return base if base and number.isdecimal() else name.rpartition("/")[2]


def _names(alias: str, name: str) -> bool:
    """Whether an alias says more than a layer's name: not its place in Keras's own list, nor the cell within it."""
    if alias.startswith(_LIST):
        return False
    inside = alias.removeprefix(f"{name}/")
    return inside == alias or not KIND_WORDS.issuperset(inside.split("_"))


def _equal_names(draft: MatchDraft) -> dict[int, int]:
    """Units of equal name; a name that occurs twice on one side (after renaming) is none."""
    places: dict[str, int | None] = {}
    for i, unit in enumerate(draft.a.units):
        places[unit.name] = None if unit.name in places else i
    pairs = {}
    for j, unit in enumerate(draft.b.units):
        place = places.get(unit.name)
        if place is not None:
            pairs[place] = j
    return pairs


def _counted_otherwise(draft: MatchDraft, pairs: dict[int, int]) -> bool:
    """Whether the two sides have counted their layers in different orders: one has another's place, as shapes show."""
    apart = [(i, j) for i, j in pairs.items() if not draft.fits(i, j)]
    left = {signature(draft.a.units[i]): i for i, _ in apart}.values()
    right = {signature(draft.b.units[j]): j for _, j in apart}.values()
    return any(draft.fits(i, j) for i in left for j in right)


def _in_order(pairs: dict[int, int]) -> bool:
    targets = [pairs[i] for i in sorted(pairs)]
    return all(one < other for one, other in itertools.pairwise(targets))
