"""Fits the convention tables to the variables of a layer: which row they are, and what role each one has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

from ckptkit.canonical.naming import is_cell, public
from ckptkit.conventions import ROWS, rows_of
from ckptkit.conventions.layout import Shape, parse_layout, solve
from ckptkit.conventions.reading import snake_case
from ckptkit.conventions.rows import Native, Row

# Entries of a layer's configuration that the `when` of a row asks for.
_SETTINGS = tuple(dict.fromkeys(key for row in ROWS for key, _ in row.when))

# Switches of a layer's configuration -> the role that is absent when they are off (Keras's layers, all generations).
_SWITCHES = {"use_bias": "bias", "bias": "bias", "scale": "gamma", "center": "beta"}


# The dialect of recurrent cells, and what stands for a scope that only says that it is one.
_CELLS = "rnn_cell"
_CELL = "cell"


@dataclass(frozen=True, slots=True)
class Fit:
    """A row that explains a layer.

    Attributes:
        row: the row.
        natives: word of the layer's variable -> the native of the row that it is, in the row's order.
    """

    row: Row
    natives: Mapping[str, Native]


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
            required = [native for native in row.natives if not native.optional]
            # A matrix product over several axes reads every other kernel of rank 3, too.
            usual = not row.where and row.class_name != "EinsumDense"
            gated = any("*" in native.layout for native in row.natives)
            form = _Form(row, natives, len(required), _plain(row.class_name), gated, usual)
            hints.add(form.hint)
            for spelling in natives if not required else spellings(required[0]):
                forms[spelling, _rank(natives[spelling])].append((place, form))
            for spelling, native in natives.items():
                role = native.roles[0] if native.roles else None
                roles[spelling] = role if roles.get(spelling, role) == role else None
            place += 1
    known = {suffix: role for suffix, role in roles.items() if role is not None}
    return _Index({word: tuple(found) for word, found in forms.items()}, known, frozenset(hints))


def _rank(native: Native) -> int | None:
    """Number of axes, or None where the layout leaves it open."""
    axes = parse_layout(native.layout).axes
    return None if any(axis.open for axis in axes) else len(axes)


def _plain(word: str) -> str:
    """A class or scope as frameworks differ not over it: `DepthwiseConv2D`, `depthwise_conv2_d`, `depthwise_conv2d`."""
    return word.replace("_", "").lower()


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
        self._seen: dict[object, Fit | None] = {}

    def best(
        self, variables: Sequence[tuple[str, Shape]], kind: str | None, config: Mapping[str, Any] | None, scope: str
    ) -> Fit | None:
        """The row that explains most of a layer.

        Args:
            variables: (word, shape) of each.
            kind: Keras's word where the architecture tells; rows of another kind only count if none of this one fits.
            config: the layer's configuration; rows for another one are out.
            scope: last component of the layer's name, without a number: `lstm_cell` speaks for the row of that name.

        Returns:
            The row with the natives found, or None where no row has all that it requires.
        """
        hint = _plain(scope)
        if hint not in self._index.hints:
            hint = _CELL if is_cell(scope) else ""
        question = (tuple(variables), kind, hint, _settings(config or {}))
        if question not in self._seen:
            self._seen[question] = self._search(variables, kind, config or {}, hint)
        return self._seen[question]

    def _search(
        self, variables: Sequence[tuple[str, Shape]], kind: str | None, settings: Mapping[str, object], hint: str
    ) -> Fit | None:
        shapes: dict[str, Shape] = {}
        words: dict[str, str] = {}
        for word, shape in variables:
            shapes.setdefault(public(word), shape)
            words.setdefault(public(word), word)
        best: tuple[tuple[bool, int, bool, bool, int], Fit] | None = None
        for suffix, shape in shapes.items():
            forms = self._index.forms
            for place, form in (*forms.get((suffix, len(shape)), ()), *forms.get((suffix, None), ())):
                row = form.row
                found = [(word, native) for word, native in form.natives.items() if word in shapes]
                if sum(not native.optional for _, native in found) < form.required:
                    continue
                if any(settings.get(key, value) != value for key, value in row.when):
                    continue
                if solve([(native.layout, shapes[word]) for word, native in found], row.where) is None:
                    continue
                # Any matrix whose rows outnumber its columns can be that of a plain cell: one with gates is likelier.
                called = form.gated and row.dialect == _CELLS if hint == _CELL else form.hint == hint
                score = (row.kind == kind, len(found), called, form.usual, -place)
                if best is None or score > best[0]:
                    best = score, Fit(row, {words[word]: native for word, native in found})
        return best[1] if best else None


class Aligner:
    """Says which natives of its row the unnamed tensors of a layer are, remembering the answers."""

    def __init__(self, dialects: tuple[str, ...]) -> None:
        self._dialects = dialects
        self._seen: dict[object, list[Native | None]] = {}

    def align(self, shapes: Sequence[Shape], kind: str | None, config: Mapping[str, Any]) -> list[Native | None]:
        """One native for each tensor; None where the tensor could be several of them or none.

        Args:
            shapes: of the tensors, in the framework's order of creation.
            kind: Keras's word for the layer, or None: then any usual row that has exactly such tensors counts.
            config: the layer's configuration: what it switches off is absent.
        """
        absent = frozenset(role for switch, role in _SWITCHES.items() if config.get(switch) is False)
        question = (tuple(shapes), kind, absent, _settings(config))
        if question not in self._seen:
            self._seen[question] = self._search(shapes, kind, config, absent)
        return self._seen[question]

    def _search(
        self, shapes: Sequence[Shape], kind: str | None, config: Mapping[str, Any], absent: frozenset[str]
    ) -> list[Native | None]:
        for row in _rows_for(kind, self._dialects, config):
            natives = _align(shapes, row, absent)
            if any(natives):
                return natives
        return [None] * len(shapes)


def _align(shapes: Sequence[Shape], row: Row, absent: frozenset[str]) -> list[Native | None]:
    """The natives of `row` on which all ways to leave out optional ones agree."""
    natives = [native for native in row.natives if not (native.optional and set(native.roles) <= absent)]
    optional = [index for index, native in enumerate(natives) if native.optional]
    left_out = len(natives) - len(shapes)
    if not 0 <= left_out <= len(optional):
        return [None] * len(shapes)
    readings = []
    for omitted in combinations(optional, left_out):
        reading = [native for index, native in enumerate(natives) if index not in omitted]
        pairs = [(native.layout, shape) for native, shape in zip(reading, shapes, strict=True)]
        if solve(pairs, row.where) is not None:
            readings.append(reading)
    return [same[0] if len(set(same)) == 1 else None for same in zip(*readings, strict=True)] or [None] * len(shapes)


def _rows_for(kind: str | None, dialects: tuple[str, ...], config: Mapping[str, Any]) -> list[Row]:
    """The rows that a layer of `kind` with `config` can be; every usual one where the kind is not known.

    Rows of which the configuration speaks come first.
    """
    rows = [row for dialect in dialects for row in rows_of(dialect) if not row.where]
    known = [row for row in rows if row.kind == kind] if kind else []
    if known:
        return [row for row in known if all(config.get(key, value) == value for key, value in row.when)]
    return [row for row in rows if row.class_name != "EinsumDense"] if kind is None else []
