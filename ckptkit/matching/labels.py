"""Names as sequences of words and numbers: what a person reads in `bert/encoder/layer_0/attention/self/query`.

Separators, humps and digits part a name; `Conv2D`, `3x3` and the like stay whole. A number is either one that its user
gave (`block_2`), or a counter by which a framework tells equal names apart (`dense_3`, `Conv`, `Conv_1`): that says in
which order things were made, and nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ckptkit.matching.vocabulary import AUTOMATIC, MEANINGS, NOISE, snake_case

# A number in a pattern.
NUMBER = "#"

# Components beyond these, from the last one upwards, name nothing that a person would look at.
_DEEPEST = 24

# A component longer than this is nobody's name; it is one word.
_LONGEST = 160

# Numbers longer than this count nothing (dates, hashes); they are words.
_MOST_DIGITS = 6

_SEPARATORS = re.compile(r"[/\\]")
_OUTPUT_INDEX = re.compile(r":\d+$")
# Parts that stay whole although digits stand in them: 2d, conv2d, 3x3. Then numbers, a letter that counts on behind a
# number (block2a, and block3d, which has no axes), words by their humps.
_WITH_AXES = r"bn|conv|corr|cropping|drop(?:out)?|norm|padding|pool(?:ing)?|sampling|transpose"
_SPATIAL = rf"(?<![A-Za-z])(?:[A-Za-z]*(?:{_WITH_AXES}))?[1-3]d"
_PARTS = re.compile(
    rf"(?P<size>\d+x\d+)|(?P<whole>(?i:{_SPATIAL})(?![A-Za-z]))|(?P<number>\d+)(?P<letter>[a-z](?![A-Za-z]))?"
    r"|(?P<word>[A-Z]+(?![a-z])|[A-Z]?[a-z]+)|(?P<other>[^\W_\d]+)"
)
_COUNTED = re.compile(r"(.*[^_\d])_(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Label:
    """One name, taken apart.

    Attributes:
        pattern: its words, lower case, with `#` for each number.
        numbers: the numbers, one for each `#`.
        counter: what a framework counted at its end, 0 for the first of a row; None where the user gave the name.
        counted: the last words of the pattern, which it counted, in whatever scope; empty for a place in a list.
    """

    pattern: tuple[str, ...]
    numbers: tuple[int, ...]
    counter: int | None = None
    counted: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Its words without the numbers."""
        return tuple([word for word in self.pattern if word != NUMBER])

    def __str__(self) -> str:
        numbers = iter(self.numbers)
        text = "/".join([str(next(numbers)) if word == NUMBER else word for word in self.pattern])
        return f"{text}_{self.counter}" if self.counter else text


def read_labels(
    names: Sequence[str], kinds: Sequence[str | None], *, places: Container[int] = frozenset()
) -> list[Label]:
    """The labels of one side's names.

    Args:
        names: paths, one for each layer.
        kinds: the class of each layer, which frameworks make automatic names of.
        places: names of which a last component that is a number is a place in a list, which no user gave.
    """
    paths = [_components(name) for name in names]
    reader = _Reader(_first_of_counted(paths), _counted_from_zero(paths))
    return [
        reader.label(path, kind, index in places) for index, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]


def _components(name: str) -> tuple[str, ...]:
    """The components of a path, without what belongs to the file and not to the name."""
    found = []
    for part in _SEPARATORS.split(name):
        if part.startswith(".") and part[1:2].isupper():  # .ATTRIBUTES/VARIABLE_VALUE, .OPTIMIZER_SLOT
            break
        clean = _OUTPUT_INDEX.sub("", part)
        if clean:
            found.append(clean)
    return tuple(found[-_DEEPEST:])


def _first_of_counted(paths: Iterable[tuple[str, ...]]) -> frozenset[tuple[tuple[str, ...], str]]:
    """(scope, component) of what stands beside `component_1`: the first of a row that a framework counted."""
    children: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in paths:
        for place, part in enumerate(path):
            children[path[:place]].add(part)
    return frozenset(
        [
            (scope, part)
            for scope, parts in children.items()
            for part in parts
            if not part[-1:].isdigit() and f"{part}_1" in parts
        ]
    )


def _counted_from_zero(paths: Iterable[tuple[str, ...]]) -> frozenset[tuple[tuple[str, ...], str]]:
    """(scope, component) of what some user counted from 0 or with leading zeros, as no framework does: `dense_0`."""
    found = set()
    for path in paths:
        counted = _COUNTED.fullmatch(path[-1]) if path else None
        if counted and counted[2][0] == "0":
            found.add((path[:-1], counted[1]))
    return frozenset(found)


class _Reader:
    """Takes names apart, remembering the components: they repeat from name to name."""

    def __init__(
        self,
        first: Collection[tuple[tuple[str, ...], str]],
        given: Collection[tuple[tuple[str, ...], str]],
    ) -> None:
        self._first = first
        self._given = given

    def label(self, path: tuple[str, ...], kind: str | None, in_list: bool) -> Label:
        """The label of a path of components; `in_list`: whether a number at its end is a place in a list."""
        pattern: list[str] = []
        numbers: list[int] = []
        before: tuple[str, ...] = ()
        counter = None
        counted: tuple[str, ...] = ()
        for place, component in enumerate(path):
            part = component
            if place == len(path) - 1:
                part, counter = self._counted(path, kind, in_list)
            words, values = split_component(part)
            if counter is None and (path[:place], part) in self._first:
                words, values = (*words, NUMBER), (*values, 0)
            if words == before and not values:  # decoder/decoder
                continue
            before = words
            if counter is not None:
                counted = words
            pattern += words
            numbers += values
        return Label(tuple(pattern), tuple(numbers), counter, counted)

    def _counted(self, path: tuple[str, ...], kind: str | None, in_list: bool) -> tuple[str, int | None]:
        """The last component without the counter of an automatic name, and the counter: (`dense`, 3) of `dense_3`."""
        part = path[-1]
        if in_list and part.isdecimal() and len(part) <= _MOST_DIGITS:
            return "", int(part)
        found = _COUNTED.fullmatch(part)
        base, number = (found[1], found[2]) if found else (part, "")
        automatic = base.lower() in AUTOMATIC or (kind is not None and base == snake_case(kind))
        if automatic and (path[:-1], base) not in self._given:
            return base, int(number or 0)
        return part, None


@lru_cache(maxsize=16384)
def split_component(part: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """A component as (words with `#` for numbers, numbers): `Conv2d_1_depthwise` is `conv2d # depthwise`, 1."""
    if len(part) > _LONGEST:
        return (part.lower(),), ()
    words: list[str] = []
    numbers: list[int] = []
    for found in _PARTS.finditer(part):
        number = found["number"]
        if number is None:
            words.append(found[0].lower())
        elif len(number) > _MOST_DIGITS:
            words.append(number)
        else:
            words.append(NUMBER)
            numbers.append(int(number))
            if found["letter"]:
                words.append(NUMBER)
                numbers.append(ord(found["letter"]) - ord("a"))
    return tuple(words), tuple(numbers)


def unglue(labels_a: Sequence[Sequence[Label]], labels_b: Sequence[Sequence[Label]]) -> Mapping[str, tuple[str, ...]]:
    """Words that one side writes in one and the other side in several: `layernorm` against `layer norm`.

    Returns:
        word -> its parts, for words that are, whole, a row of words of the other side.
    """
    vocabularies = [
        frozenset([word for labels in side for label in labels for word in label.pattern if word != NUMBER])
        for side in (labels_a, labels_b)
    ]
    found: dict[str, tuple[str, ...]] = {}
    for own, other in (vocabularies, vocabularies[::-1]):
        parts = frozenset([word for word in other if len(word) > 1])
        for word in own - other:
            split = _segmented(word, parts)
            if split:
                found[word] = split
    initials = [_initials(labels_a), _initials(labels_b)]
    for own, other, known in zip(vocabularies, vocabularies[::-1], initials[::-1], strict=True):
        for word in own - other:
            if word in known and word not in found and word not in MEANINGS:
                found[word] = known[word]
    return found


def _initials(labels: Sequence[Sequence[Label]]) -> dict[str, tuple[str, ...]]:
    """`sa` -> `self attention`: what the first letters of words that follow each other spell."""
    found: dict[str, tuple[str, ...]] = {}
    for pattern in {label.pattern for own in labels for label in own}:
        for start in range(len(pattern)):
            for length in (2, 3):
                words = pattern[start : start + length]
                if len(words) == length and all(len(word) > 2 for word in words):
                    found.setdefault("".join(word[0] for word in words), words)
    return found


def _segmented(word: str, parts: Collection[str]) -> tuple[str, ...]:
    """`word` as a row of at least two of `parts`, the fewest that do; () where it is none."""
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(2, len(word) + 1):
        for start in range(end - 1):
            before = best[start]
            if (
                before is not None
                and word[start:end] in parts
                and (best[end] is None or len(best[end] or ()) > len(before) + 1)
            ):
                best[end] = (*before, word[start:end])
    found = best[-1]
    return found if found and len(found) > 1 else ()


def rewritten(label: Label, parts: Mapping[str, tuple[str, ...]]) -> Label:
    """`label` with every glued word taken apart."""
    if not parts or parts.keys().isdisjoint(label.pattern):
        return label
    pattern, counted = (
        tuple([piece for word in words for piece in parts.get(word, (word,))])
        for words in (label.pattern, label.counted)
    )
    return Label(pattern, label.numbers, label.counter, counted)


def is_noise(word: str) -> bool:
    """Whether a word says nothing of which layer it is."""
    return word in NOISE
