"""Which layers words and numbers pair: all evidence of names weighed together, one assignment, and a margin.

Every pair of layers that could hold each other's weights is weighed by the words that tell layers of that class apart
and by the numbers that correspond. A pair counts only where the best assignment is better than the best one without it.
What certain pairs teach about words (`ffn` stands for `mlp`) weighs in the next round.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ckptkit.matching.assignment import Chosen, assign, components
from ckptkit.matching.labels import Label
from ckptkit.matching.likeness import Likeness, Pattern, Translation, word_likeness
from ckptkit.matching.numbering import Bound, Numbering
from ckptkit.matching.vocabulary import KIND_WORDS, MODELS, NOISE

Labels = Sequence[Sequence[Label]]

# What a name may say without its user having said it.
_NOBODYS = NOISE | KIND_WORDS | MODELS

# What it counts that two layers could hold each other's weights at all.
_FITS = 1.0

# What it counts that a number corresponds, for slots that meet in all; numbers that do not are no pair at all.
_NUMBER = 1.0

# What it counts that the user's rule speaks of the layer.
_MEANT = 1.0

# What it costs that a layer of another name is called as this one is.
_BORNE = 1.5

# By how much an assignment has to be better, in bits: half a word that is one of two.
MARGIN = 0.4

# Layers that fit each other in every combination, up to which the exact margin is computed.
_LARGEST = 200

# Combinations of one class that are looked at; beyond, names tell nothing.
_MOST_EDGES = 400_000

_ROUNDS = 3

# Share of the other pairs whose names are equal, from which on two sides speak one language.
_ALIKE = 0.6

# Names that both have, from which on a lone pair of layers whose names share no word is none.
_FEW = 3


@dataclass(frozen=True, slots=True)
class Edge:
    """Why two layers may be one.

    Attributes:
        score: how much speaks for it.
        words: (word of the source, word of the target) that stand for each other, those that tell most first.
        numbers: (number of the source, number of the target) that correspond.
        sided: words that stand for each other, and that all of one side have.
    """

    score: float
    words: tuple[tuple[str, str], ...] = ()
    numbers: tuple[tuple[int, int], ...] = ()
    sided: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pair that names decide."""

    target: int
    edge: Edge
    margin: float


@dataclass(slots=True)
class Verdict:
    """What names say.

    Attributes:
        pairs: source -> what it is paired with.
        open: groups that names do not tell apart, (sources, targets).
        edges: what was weighed.
    """

    pairs: dict[int, Weighed] = field(default_factory=dict)
    open: list[tuple[list[int], list[int]]] = field(default_factory=list)
    edges: dict[tuple[int, int], Edge] = field(default_factory=dict)


def weigh(
    labels_a: Labels,
    classes_a: Sequence[int],
    labels_b: Labels,
    classes_b: Sequence[int],
    fits: Callable[[int, int], bool],
    free: tuple[Sequence[bool], Sequence[bool]],
    called: tuple[Sequence[Called], Sequence[Called]],
    known: Sequence[tuple[frozenset[str], frozenset[str]]] = (),
    meant: Container[int] = (),
) -> Verdict:
    """Weigh every pair of layers of one class by their names.

    Args:
        labels_a: the names of each layer of the source, its own first.
        classes_a: the class of each.
        labels_b: those of the target.
        classes_b: theirs.
        fits: whether two of one class can hold each other's weights.
        free: which of either side are to be paired; the others only tell how numbers correspond.
        called: what the users of both sides called them.
        known: the words of what is paired already.
        meant: layers of the source that a rule of the user's renames: of two copies these are meant.
    """
    first_a, first_b = [own[0] for own in labels_a], [own[0] for own in labels_b]
    numbering = Numbering(first_a, classes_a, first_b, classes_b)
    groups = _by_class(classes_a, classes_b, free)
    bearers = Bearers(called[0]), Bearers(called[1])
    learned = Translation()
    verdict = Verdict()
    for _ in range(_ROUNDS):
        verdict = Verdict()
        for own, other in groups:
            edges = _edges(own, other, labels_a, labels_b, numbering, learned, fits)
            if edges is None:
                verdict.open.append((own, other))
                continue
            _mark_borne(edges, called, bearers)
            for (i, j), edge in edges.items():
                if i in meant:
                    edges[i, j] = replace(edge, score=edge.score + _MEANT)
            verdict.edges.update(edges)
            _decide(edges, verdict)
        _part_siblings(verdict, called, bearers, known)
        patterns = {(first_a[i].pattern, first_b[found.target].pattern) for i, found in verdict.pairs.items()}
        before = learned
        learned = Translation()
        learned.learn(sorted(patterns))
        if learned == before:
            break
    return verdict


def _part_siblings(
    verdict: Verdict,
    called: tuple[Sequence[Called], Sequence[Called]],
    bearers: tuple[Bearers, Bearers],
    known: Sequence[tuple[frozenset[str], frozenset[str]]],
) -> None:
    """Take out pairs of layers that their users called differently where everything around is called alike.

    `head_cats` is not `head_dogs`, also where each is the only one of its shape: one side has the one, the other has the
    other. Nor is `aux` the `head` where there is a `head` of another shape. Between two vocabularies, a word that has no
    counterpart says nothing.
    """
    named = {i: (called[0][i].words, called[1][found.target].words) for i, found in verdict.pairs.items()}
    named = {i: words for i, words in named.items() if words[0] and words[1]}
    taken = set(verdict.pairs), {found.target for found in verdict.pairs.values()}
    counts = Counter([*named.values(), *(words for words in known if words[0] and words[1])])
    for i, (a, b) in named.items():
        if verdict.pairs[i].edge.words:
            continue
        j = verdict.pairs[i].target
        if bearers[0].left(i, called[1][j], taken[0]) or bearers[1].left(j, called[0][i], taken[1]):
            del verdict.pairs[i]
            continue
        if not _apart(a - b, b - a):
            continue
        others = sum(counts.values()) - counts[a, b]
        related = not a.isdisjoint(b)
        same = [count for (one, other), count in counts.items() if one == other]
        if sum(same) >= _ALIKE * others and (related or len(same) >= _FEW) if others else related:
            del verdict.pairs[i]


def _apart(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether both have words, and none of the one goes with one of the other."""
    return bool(a) and bool(b) and not any(word_likeness(one, other) for one in a for other in b)


def _by_class(
    classes_a: Sequence[int], classes_b: Sequence[int], free: tuple[Sequence[bool], Sequence[bool]]
) -> list[tuple[list[int], list[int]]]:
    groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, classes in enumerate((classes_a, classes_b)):
        for index, number in enumerate(classes):
            if free[side][index]:
                groups[number][side].append(index)
    return [group for group in groups.values() if group[0] and group[1]]


def _edges(
    own: list[int],
    other: list[int],
    labels_a: Labels,
    labels_b: Labels,
    numbering: Numbering,
    learned: Translation,
    fits: Callable[[int, int], bool],
) -> dict[tuple[int, int], Edge] | None:
    """The pairs of one class that names do not exclude; None where there are too many for names to tell apart."""
    patterns_a = sorted({label.pattern for i in own for label in labels_a[i]})
    patterns_b: dict[Pattern, list[tuple[int, Label]]] = defaultdict(list)
    for j in other:
        for label in labels_b[j]:
            patterns_b[label.pattern].append((j, label))
    likeness = Likeness(patterns_a, sorted(patterns_b), learned)
    finder = _Finder(patterns_b, numbering)
    edges: dict[tuple[int, int], Edge] = {}
    for i in own:
        for label in labels_a[i]:
            for pattern in patterns_b:
                bounds = numbering.bind(label.pattern, pattern)
                words = likeness.score(label.pattern, pattern)
                shared = likeness.shared(label.pattern, pattern)
                sided = likeness.sided(label.pattern, pattern)
                score = _FITS + words + sum(_NUMBER * bound.shift.strength for bound in bounds)
                for j, numbers in finder.find(label, pattern, bounds):
                    known = edges.get((i, j))
                    if (known is None or known.score < score) and (known is not None or fits(i, j)):
                        edges[i, j] = Edge(score, shared, numbers, sided)
        if len(edges) > _MOST_EDGES:
            return None
    return edges


def _mark_borne(
    edges: dict[tuple[int, int], Edge],
    called: tuple[Sequence[Called], Sequence[Called]],
    bearers: tuple[Bearers, Bearers],
) -> None:
    """Weigh down what no word speaks for where a third layer bears the very name of one of the two."""
    for (i, j), edge in edges.items():
        if not edge.words and (bearers[0].another(i, called[1][j]) or bearers[1].another(j, called[0][i])):
            edges[i, j] = replace(edge, score=edge.score - _BORNE)


@dataclass(frozen=True, slots=True)
class Called:
    """What its user called a layer, and the shapes that it holds."""

    words: frozenset[str]
    shapes: frozenset[tuple[int, ...]]


class Bearers:
    """Which layers of one side bear a name, in the words that its user gave."""

    def __init__(self, called: Sequence[Called]) -> None:
        self._called = called
        self._found: dict[frozenset[str], set[int]] = defaultdict(set)
        for index, own in enumerate(called):
            if own.words:
                self._found[own.words].add(index)

    def another(self, index: int, wanted: Called) -> bool:
        """Whether layers other than `index`, and not itself, are called as `wanted` is and hold its largest shape."""
        largest = max(wanted.shapes, key=lambda shape: (len(shape), shape), default=())
        return any(largest in self._called[bearer].shapes for bearer in self._bearers(index, wanted))

    def left(self, index: int, wanted: Called, taken: Container[int]) -> bool:
        """Whether one of them is left over that holds something of as many axes: it has changed its shape."""
        rank = max(map(len, wanted.shapes), default=0)
        return any(
            bearer not in taken and rank in map(len, self._called[bearer].shapes)
            for bearer in self._bearers(index, wanted)
        )

    def _bearers(self, index: int, wanted: Called) -> Collection[int]:
        found = self._found.get(wanted.words, ()) if wanted.words else ()
        return () if index in found else found


def call(label: Label, shapes: Iterable[tuple[int, ...]]) -> Called:
    """What `label` says beside a container's words and those of a kind of layer."""
    words = frozenset([word for word in label.words if word not in _NOBODYS])
    return Called(words, frozenset(shapes))


class _Finder:
    """Finds the layers of one pattern whose numbers correspond to those of a label."""

    def __init__(self, layers: Mapping[Pattern, Sequence[tuple[int, Label]]], numbering: Numbering) -> None:
        self._layers = layers
        self._numbering = numbering
        self._indexes: dict[tuple[Pattern, tuple[tuple[int, ...], ...]], dict[tuple[int | None, ...], list[int]]] = {}

    def find(
        self, label: Label, pattern: Pattern, bounds: tuple[Bound, ...]
    ) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
        """(layer, corresponding numbers) of each."""
        values = [self._numbering.values(0, label, bound.a) for bound in bounds]
        wanted = []
        for value, bound in zip(values, bounds, strict=True):
            if value is None:
                return
            wanted.append((value, bound.shift.of_target(value)))
        index = self._index(pattern, tuple(bound.b for bound in bounds))
        for j in index.get(tuple(number for _, number in wanted), ()):
            yield j, tuple(wanted)

    def _index(
        self, pattern: Pattern, places: tuple[tuple[int, ...], ...]
    ) -> Mapping[tuple[int | None, ...], Sequence[int]]:
        index = self._indexes.get((pattern, places))
        if index is None:
            index = self._indexes[pattern, places] = defaultdict(list)
            for j, label in self._layers[pattern]:
                index[tuple(self._numbering.values(1, label, place) for place in places)].append(j)
        return index


def _decide(edges: Mapping[tuple[int, int], Edge], verdict: Verdict) -> None:
    """Accept what the best assignment of each component has a margin for; the rest stays open."""
    scores = {pair: edge.score for pair, edge in edges.items()}
    by_row: dict[int, list[int]] = defaultdict(list)
    for i, j in edges:
        by_row[i].append(j)
    for rows, columns in components(scores):
        if max(len(rows), len(columns)) > _LARGEST:
            chosen = _mutual(rows, columns, by_row, scores)
        else:
            chosen = _assigned(rows, columns, by_row, scores)
        for i, found in chosen.items():
            if found.margin >= MARGIN and found.score > 0:
                verdict.pairs[i] = Weighed(found.target, edges[i, found.target], found.margin)
        left_a = {i for i in rows if i not in verdict.pairs}
        left_b = set(columns) - {verdict.pairs[i].target for i in rows if i in verdict.pairs}
        # What speaks against every pair that is left is no question: one side has it and the other has not.
        left = {(i, j): scores[i, j] for i in left_a for j in by_row[i] if j in left_b and scores[i, j] > 0}
        verdict.open.extend(components(left))


def _assigned(
    rows: Sequence[int],
    columns: Sequence[int],
    by_row: Mapping[int, Iterable[int]],
    scores: Mapping[tuple[int, int], float],
) -> dict[int, Chosen]:
    if len(rows) == 1 == len(columns):
        score = scores[rows[0], columns[0]]
        return {rows[0]: Chosen(columns[0], score, score)} if score > 0 else {}
    import numpy as np

    places = {j: place for place, j in enumerate(columns)}
    matrix = np.full((len(rows), len(columns)), -np.inf)
    for place, i in enumerate(rows):
        for j in by_row[i]:
            matrix[place, places[j]] = scores[i, j]
    return {
        rows[place]: Chosen(columns[found.target], found.score, found.margin) for place, found in assign(matrix).items()
    }


def _mutual(
    rows: Sequence[int],
    columns: Sequence[int],
    by_row: Mapping[int, Iterable[int]],
    scores: Mapping[tuple[int, int], float],
) -> dict[int, Chosen]:
    """Pairs that are each other's best, by the lesser of both leads: a bound on the margin that needs no assignment."""
    best_b: dict[int, list[tuple[float, int]]] = {j: [] for j in columns}
    best_a: dict[int, list[tuple[float, int]]] = {i: [] for i in rows}
    for i in rows:
        for j in by_row[i]:
            _keep_two(best_a[i], scores[i, j], j)
            _keep_two(best_b[j], scores[i, j], i)
    found = {}
    for i, best in best_a.items():
        j = best[0][1]
        if best_b[j][0][1] == i:
            lead = min(two[0][0] - (two[1][0] if len(two) > 1 else 0.0) for two in (best, best_b[j]))
            found[i] = Chosen(j, best[0][0], lead)
    return found


def _keep_two(best: list[tuple[float, int]], score: float, index: int) -> None:
    best.append((score, index))
    best.sort(key=lambda item: (-item[0], item[1]))
    del best[2:]
