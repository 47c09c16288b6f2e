"""Fits the convention tables to the variables of a layer: which row they are, and what role each one has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from ckptkit.canonical.naming import is_cell, public
from ckptkit.conventions import ROWS, rows_of
from ckptkit.conventions.candidates import alignments, plain_word, snake_case
from ckptkit.conventions.layout import Shape, parse_layout, solve
from ckptkit.conventions.rows import Native, Row

# Entries of a layer's configuration that the `when` of a row asks for.
_SETTINGS = tuple(dict.fromkeys(key for row in ROWS for key, _ in row.when))

# Switches of a layer's configuration -> the role that is absent when they are off (Keras's layers, all generations).
_SWITCHES = {"use_bias": "bias", "bias": "bias", "scale": "gamma", "center": "beta"}


# Dialects that call the kernel, the table and the scale by one word, so that its shape alone does not tell which it is.
_ONE_WORD = ("torch",)

# The dialect of recurrent cells, and what stands for a scope that only says that it is one.
_CELLS = "rnn_cell"
_CELL = "cell"


@dataclass(frozen=True, slots=True)
class RowFit:
    """A row that explains a layer.

    Attributes:
        row: the row.
        natives: word of the layer's variable -> the native of the row that it is, in the row's order.
        kind: that of the row; None where the layer holds more than the row explains, or where a row of another kind has
            the same variables under the same names, whatever their sizes.
    """

    row: Row
    natives: Mapping[str, Native]
    kind: str | None


@dataclass(frozen=True, slots=True)
class _Form:
    """A row made ready for look-up: its natives by every spelling, and how many it cannot do without."""

    row: Row
    natives: Mapping[str, Native]
    required: int
    hint: str
    gated: bool
    usual: bool


@dataclass(frozen=True, slots=True)
class _Index:
    """The rows of some dialects by the word that a layer of theirs must have, and its rank where the row fixes it."""

    forms: Mapping[tuple[str, int | None], tuple[tuple[int, _Form], ...]]
    roles: Mapping[str, str]
    hints: frozenset[str]


@cache
def _index(dialects: tuple[str, ...]) -> _Index:
    forms: dict[tuple[str, int | None], list[tuple[int, _Form]]] = defaultdict(list)
    roles: dict[str, str | None] = {}
    place = 0
    hints: set[str] = set()
    for dialect in dialects:
        for row in rows_of(dialect):
            natives = {spelling: native for native in row.natives for spelling in spellings(native)}
            required = [native for native in row.natives if _is_required(native)]
            # A matrix product over several axes reads every other kernel of rank 3, too.
            usual = not row.where and row.class_name != "EinsumDense"
            gated = any("*" in native.layout for native in row.natives)
            form = _Form(row, natives, len(required), plain_word(row.class_name), gated, usual)
            hints.add(form.hint)
            for spelling in natives if not required else spellings(required[0]):
                forms[spelling, _rank(natives[spelling])].append((place, form))
            for spelling, native in natives.items():
                role = native.roles[0] if native.roles else None
                roles[spelling] = role if roles.get(spelling, role) == role else None
            place += 1
    known = {suffix: role for suffix, role in roles.items() if role is not None}
    return _Index({word: tuple(found) for word, found in forms.items()}, known, frozenset(hints))


def _is_required(native: Native) -> bool:
    """Whether a layer with names has it: a checkpoint may keep its counters elsewhere."""
    return not native.optional and native.kind != "state"


def _rank(native: Native) -> int | None:
    """Number of axes, or None where the layout leaves it open."""
    axes = parse_layout(native.layout).axes
    return None if any(axis.open for axis in axes) else len(axes)


def spellings(native: Native) -> tuple[str, ...]:
    """The names of `native` below its layer, without leading underscores."""
    return tuple(dict.fromkeys(public(name) for name in (native.suffix, *native.aliases)))


@cache
def suffixes(dialects: tuple[str, ...]) -> frozenset[str]:
    """Every name that a row of `dialects` gives to a variable below its layer, without leading underscores."""
    rows = (row for dialect in dialects for row in rows_of(dialect))
    return frozenset(spelling for row in rows for native in row.natives for spelling in spellings(native))


@cache
def kinds(dialects: tuple[str, ...]) -> Mapping[str, str]:
    """What the dialects call a layer's class -> Keras's word for it (`Convolution2D` -> `Conv2D`)."""
    rows = [row for dialect in reversed(dialects) for row in rows_of(dialect) if not row.where]
    return {**{row.kind: row.kind for row in rows}, **{row.class_name: row.kind for row in rows}}


@cache
def kinds_by_snake(dialects: tuple[str, ...]) -> Mapping[str, str]:
    """Snake-case class name -> Keras's word (`batch_normalization` -> `BatchNormalization`)."""
    return {snake_case(name): kind for name, kind in kinds(dialects).items()}


@cache
def _orders(dialects: tuple[str, ...]) -> tuple[Mapping[str, int], ...]:
    """Spelling -> rank, for every row of `dialects`."""
    rows = (row for dialect in dialects for row in rows_of(dialect))
    return tuple(
        {spelling: rank for rank, native in enumerate(row.natives) for spelling in spellings(native)} for row in rows
    )


@lru_cache(maxsize=4096)  # words come from files: there can be any number of them
def begins_row(words: tuple[str, ...], dialects: tuple[str, ...]) -> bool:
    """Whether some row of `dialects` has variables called so, in this order, others left out."""
    for ranks in _orders(dialects):
        found = [ranks.get(word, -1) for word in words]
        if found[0] >= 0 and all(one < other for one, other in pairwise(found)):
            return True
    return False


@lru_cache(maxsize=4096)
def role_of(word: str, dialects: tuple[str, ...]) -> str | None:
    """The role that all rows of `dialects` give to a variable called `word`; None if they differ or none has it."""
    roles = _index(dialects).roles
    word = public(word)
    return roles.get(word) or roles.get(word.rpartition("/")[2])


def _settings(config: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    """What of a configuration the rows ask for; values that are no scalars answer nothing."""
    known = ((key, config[key]) for key in _SETTINGS if key in config)
    return tuple((key, value) for key, value in known if isinstance(value, (bool, int, float, str)))


class Fitter:
    """Finds the best row for layer after layer, remembering the answers: large models repeat their layers."""

    def __init__(self, dialects: tuple[str, ...]) -> None:
        self._index = _index(dialects)
        self._seen: dict[object, RowFit | None] = {}

    def best(
        self, variables: Sequence[tuple[str, Shape]], kind: str | None, config: Mapping[str, Any] | None, scope: str
    ) -> RowFit | None:
        """The row that explains most of a layer.

        Args:
            variables: (word, shape) of each.
            kind: Keras's word where the architecture tells; rows of another kind only count if none of this one fits.
            config: the layer's configuration; rows for another one are out.
            scope: last component of the layer's name, without a number: `lstm_cell` speaks for the row of that name.

        Returns:
            The row with the natives found, or None where no row has all that it requires.
        """
        hint = self.hint(scope)
        question = (tuple(variables), kind, hint, _settings(config) if config else ())
        if question not in self._seen:
            self._seen[question] = self._search(variables, kind, config or {}, hint)
        return self._seen[question]

    def hint(self, scope: str) -> str:
        """What of a scope makes a difference to `best`; "" where nothing does."""
        hint = plain_word(scope)
        return hint if hint in self._index.hints else _CELL if is_cell(scope) else ""

    def _search(
        self, variables: Sequence[tuple[str, Shape]], kind: str | None, settings: Mapping[str, object], hint: str
    ) -> RowFit | None:
        shapes: dict[str, Shape] = {}
        words: dict[str, str] = {}
        for word, shape in variables:
            shapes.setdefault(public(word), shape)
            words.setdefault(public(word), word)
        best: tuple[tuple[bool, int, bool, bool, int], RowFit] | None = None
        for suffix, shape in shapes.items():
            forms = self._index.forms
            for place, form in (*forms.get((suffix, len(shape)), ()), *forms.get((suffix, None), ())):
                row = form.row
                found = [(word, native) for word, native in form.natives.items() if word in shapes]
                if sum(_is_required(native) for _, native in found) < form.required:
                    continue
                if any(settings.get(key, value) != value for key, value in row.when):
                    continue
                if row.called and form.hint != hint and row.kind != kind:
                    continue
                if solve([(native.layout, shapes[word]) for word, native in found], row.where) is None:
                    continue
                # Any matrix whose rows outnumber its columns can be that of a plain cell: one with gates is likelier.
                called = form.gated and row.dialect == _CELLS if hint == _CELL else form.hint == hint
                score = (row.kind == kind, len(found), called, form.usual, -place)
                if best is None or score > best[0]:
                    natives = {words[word]: native for word, native in found}
                    best = score, RowFit(row, natives, row.kind if len(natives) == len(shapes) else None)
                elif score[:-1] == best[0][:-1] and _alike(row, best[1].row):
                    best = best[0], replace(best[1], kind=None)
                elif score[:-1] == best[0][:-1] and row.dialect in _ONE_WORD:
                    best = best[0], _undecided(best[1], {words[word]: native for word, native in found})
        return best[1] if best else None


def _undecided(fit: RowFit, other: Mapping[str, Native]) -> RowFit:
    """`fit` without the roles and the kind that another row, which explains as much, does not agree with."""
    natives = {
        word: native if word not in other or native.roles == other[word].roles else replace(native, roles=())
        for word, native in fit.natives.items()
    }
    return fit if natives == fit.natives else replace(fit, natives=natives, kind=None)


def _alike(row: Row, other: Row) -> bool:
    """Whether two kinds have the same variables, so that nothing in a file of names and shapes tells them apart."""
    own = [(native.suffix, native.layout) for native in row.natives]
    return row.kind != other.kind and own == [(native.suffix, native.layout) for native in other.natives]


@dataclass(frozen=True, slots=True)
class Aligned:
    """What the shapes of unnamed tensors tell.

    Attributes:
        kind: the one kind whose row they fit, or None where several do or none.
        natives: for each tensor what it is; None where readings differ or there is none.
        fits: whether any row fits.
    """

    kind: str | None
    natives: tuple[Native | None, ...]
    fits: bool


class Aligner:
    """Says which natives of its row the unnamed tensors of a layer are, remembering the answers."""

    def __init__(self, dialects: tuple[str, ...]) -> None:
        self._dialects = dialects
        self._seen: dict[object, Aligned] = {}

    def align(self, shapes: Sequence[Shape], kind: str | None, config: Mapping[str, Any]) -> Aligned:
        """The kind of a layer and one native for each of its tensors, as far as every row that fits agrees.

        Args:
            shapes: of the tensors, in the framework's order of creation.
            kind: Keras's word for the layer, or None: then every row that has exactly such tensors counts.
            config: the layer's configuration: what it switches off is absent.
        """
        absent = frozenset(role for switch, role in _SWITCHES.items() if config.get(switch) is False)
        question = (tuple(shapes), kind, absent, _settings(config))
        if question not in self._seen:
            self._seen[question] = self._search(shapes, kind, config, absent)
        return self._seen[question]

    def _search(
        self, shapes: Sequence[Shape], kind: str | None, config: Mapping[str, Any], absent: frozenset[str]
    ) -> Aligned:
        found: dict[str, tuple[Native | None, ...]] = {}
        for row in _rows_for(kind, self._dialects, config):
            natives = _align(shapes, row, absent)
            if natives is not None:
                # Rows of one kind that lie otherwise (Theano's kernels) name the same variables: the first one speaks.
                known = found.setdefault(row.kind, natives)
                found[row.kind] = tuple(
                    one if _roles(one) == _roles(other) else None for one, other in zip(known, natives, strict=True)
                )
        agreed = tuple(
            same[0] if len({_roles(native) for native in same}) == 1 else None
            for same in zip(*found.values(), strict=True)
        )
        sure = next(iter(found)) if len(found) == 1 else None
        return Aligned(sure, agreed or (None,) * len(shapes), bool(found))


def _roles(native: Native | None) -> tuple[str, ...] | None:
    return None if native is None else native.roles or (native.suffix,)


def _align(shapes: Sequence[Shape], row: Row, absent: frozenset[str]) -> tuple[Native | None, ...] | None:
    """The natives of `row` on which all ways to leave out optional ones agree; None where no way fits."""
    readings = list(alignments(shapes, row, absent))
    if not readings:
        return None
    return tuple(same[0] if len(set(same)) == 1 else None for same in zip(*readings, strict=True))


def _rows_for(kind: str | None, dialects: tuple[str, ...], config: Mapping[str, Any]) -> list[Row]:
    """The rows that a layer of `kind` with `config` can be; every usual one where the kind is not known.

    Rows of which the configuration speaks come first.
    """
    rows = [row for dialect in dialects for row in rows_of(dialect) if not row.where]
    known = [row for row in rows if row.kind == kind] if kind else []
    if known:
        return [row for row in known if all(config.get(key, value) == value for key, value in row.when)]
    return [row for row in rows if not row.called] if kind is None else []
