"""Which rows of the tables can explain a layer, by the names, roles and places of its weights."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from ckptkit.conventions.layout import Shape, solve
from ckptkit.conventions.tables import further_rows_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.conventions.rows import Native, Row


# Dialects that meet in one checkpoint and share their words: what a scope holds decides, not who named its neighbours.
# Haiku's names are Sonnet's where nothing but one level of modules is stored.
_FAMILIES = (("keras3", "keras2"), ("sonnet2", "haiku"), ("tf_layers", "rnn_cell", "slim", "sonnet1", "haiku"))

# Words of people's own stand beside those of every framework, and alone where none is recognised.
ANYWHERE = "by_hand"

# Whose axes lie in an order of their own, so that words of nobody mean nothing beside its own.
_FOREIGN = ("torch",)

# A variable of which Keras 3's layout tells nothing but its place, and whose it is therefore.
PLACE = re.compile(r"vars/[0-9]+")

_WORD_START = re.compile("(.)([A-Z][a-z]+)")
_WORD_END = re.compile("([a-z])([A-Z])")


@dataclass(frozen=True, slots=True)
class RowCandidate:
    """A row that explains the names of a layer's weights; `suffixes` are the row's, in the order of the weights."""

    row: Row
    suffixes: tuple[str, ...]


@cache
def _family(dialect: str) -> tuple[Row, ...]:
    """Rows of `dialect`, then those of its family and of nobody, then what all of them can be taken for."""
    family = next((family for family in _FAMILIES if dialect in family), ())
    dialects = dict.fromkeys((dialect, *family, *((ANYWHERE,) if dialect not in _FOREIGN else ())))
    return tuple(row for table in (rows_of, further_rows_of) for name in dialects for row in table(name))


@cache
def _vocabulary(row: Row) -> Mapping[str, str]:
    """Every word that names a weight of `row` -> its suffix; a role counts where one variable alone has it first."""
    weights = [native for native in row.natives if native.kind == "weight"]
    roles = Counter(native.roles[0] for native in weights if native.roles)
    words = {native.roles[0]: native.suffix for native in weights if native.roles and roles[native.roles[0]] == 1}
    words.update((alias, native.suffix) for native in weights for alias in native.aliases)
    words.update((native.suffix, native.suffix) for native in weights)
    return words


def find_candidates(dialect: str, words: tuple[tuple[str, str | None], ...]) -> Iterator[RowCandidate]:
    """Rows of the family that explain exactly these (word, role) pairs."""
    for row in _family(dialect) if words else ():
        vocabulary = _vocabulary(row)
        named = tuple(vocabulary.get(word) or vocabulary.get(role or "", "") for word, role in words)
        required = {native.suffix for native in row.natives if native.kind == "weight" and not native.optional}
        for suffixes in _placed(row, words, named):
            if all(suffixes) and len(set(suffixes)) == len(suffixes) and required <= set(suffixes):
                yield RowCandidate(row, suffixes)


def _placed(row: Row, words: tuple[tuple[str, str | None], ...], named: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """`named`, or where Keras 3 stores variables by their places alone (`vars/0`), all that they could be there.

    A normalisation without its scale and one without its centre look alike in a file without an architecture, and so do
    an embedding and a matrix product without a bias.
    """
    places = [index for index, suffix in enumerate(named) if not suffix]
    if not places or row.dialect == ANYWHERE or not all(PLACE.fullmatch(words[index][0]) for index in places):
        yield named
        return
    order = {native.suffix: rank for rank, native in enumerate(row.natives) if native.kind == "weight"}
    # Keras stores what is no weight in places of its own: where one is wanted, these are not all the layer has.
    if len(named) > len(order) or len(order) < len(row.natives):
        return
    free = [suffix for suffix in order if suffix not in named]
    for chosen in combinations(free, len(places)):
        suffixes = list(named)
        for index, suffix in zip(places, chosen, strict=True):
            suffixes[index] = suffix
        if all(order.get(one, -1) < order.get(other, -1) for one, other in pairwise(suffixes)):
            yield tuple(suffixes)


def alignments(shapes: Sequence[Shape], row: Row, absent: frozenset[str] = frozenset()) -> Iterator[tuple[Native, ...]]:
    """Every way in which unnamed tensors can be the natives of `row`, in its order.

    Args:
        shapes: of the tensors, in the framework's order of creation.
        row: the row.
        absent: roles that the layer is known to lack.
    """
    natives = [native for native in row.natives if not (native.optional and set(native.roles) <= absent)]
    optional = [index for index, native in enumerate(natives) if native.optional]
    left_out = len(natives) - len(shapes)
    if not 0 <= left_out <= len(optional):
        return
    for omitted in combinations(optional, left_out):
        reading = tuple(native for index, native in enumerate(natives) if index not in omitted)
        pairs = ((native.layout, shape) for native, shape in zip(reading, shapes, strict=True))
        if reading and solve(pairs, row.where) is not None:
            yield reading


def likeliest(candidates: Iterable[RowCandidate], kind: str | None, decided: bool, scope: str) -> list[RowCandidate]:
    """Candidates in order; only those that the architecture or the scope names, where there are such."""
    rows = [item for item in candidates if not item.row.called or _is_called(item.row, kind, scope)]
    rows = (decided and [item for item in rows if kind in (item.row.of or item.row.kind, item.row.kind)]) or rows
    rows = [item for item in rows if plain_word(item.row.class_name) == scope] or rows
    return sorted(rows, key=lambda item: (item.row.of != "", item.row.kind != kind))


def _is_called(row: Row, kind: str | None, scope: str) -> bool:
    return kind in (row.of or row.kind, row.kind) or plain_word(row.class_name) == scope


def plain_word(word: str) -> str:
    """A class or scope as frameworks differ not over it: `DepthwiseConv2D`, `depthwise_conv2_d`, `depthwise_conv2d`."""
    return word.replace("_", "").lower()


@lru_cache(maxsize=4096)  # scopes come from files: there can be any number of them
def snake_case(class_name: str) -> str:
    """The scope that a class gives itself: `BasicLSTMCell` is `basic_lstm_cell`, `Conv2DTranspose` `conv2d_transpose`.

    The rule is that of keras/src/utils/naming.py, `to_snake_case`.
    """
    return _WORD_END.sub(r"\1_\2", _WORD_START.sub(r"\1_\2", class_name)).lower()
