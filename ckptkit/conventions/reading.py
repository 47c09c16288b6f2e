"""Which rows a layer could be: `read_forms` fills `Layer.forms`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from ckptkit.conventions.layout import Shape, parse_layout, solve
from ckptkit.conventions.reference import infer_parts
from ckptkit.conventions.tables import ROWS, rows_of
from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, Form, Layer, Part, Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ckptkit.conventions.rows import Row

# Dialects that meet in one checkpoint and share their words: what a scope holds decides, not who named its neighbours.
_FAMILIES = (("keras3", "keras2"), ("tf_layers", "rnn_cell", "slim", "sonnet1"))

# The default of every cell that adds it (tensorflow rnn_cell, Sonnet 1).
_FORGET_BIAS = "1.0"

# A variable of which Keras 3's layout tells nothing but its place.
_PLACE = re.compile(r"vars/[0-9]+")

_AUTO_NUMBER = re.compile(r"_[0-9]{1,9}$")
_WORD_START = re.compile("(.)([A-Z][a-z]+)")
_WORD_END = re.compile("([a-z])([A-Z])")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row that explains the names of a layer's weights; `suffixes` are the row's, in the order of the weights."""

    row: Row
    suffixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A candidate whose shapes solve: all of a `Form` but the names."""

    candidate: _Candidate
    parts: tuple[Part, ...]
    dims: Mapping[str, int]
    assumed: tuple[str, ...]

    def form(self, weights: Iterable[Variable]) -> Form:
        """The reading of a layer that has these weights, in the order in which they were read."""
        row = self.candidate.row
        names = (weight.name for weight in weights)
        natives = tuple(zip(self.candidate.suffixes, names, strict=True))
        return Form(row.id, row.kind, self.parts, self.dims, natives, self.assumed, row.options)


def read_forms(spec: CheckpointSpec, assume: Mapping[str, str] | None = None) -> CheckpointSpec:
    """`spec` with the readings of each layer, the likeliest first.

    A row fits when it explains every weight of the layer by name or role, its shapes solve, and the layer's
    configuration, where the file has one, does not contradict it. What decides between rows of one set of names is
    the configuration, then the scope's own name (`lstm_cell`), then the dialect and the order of the tables.

    Args:
        spec: the canonical map.
        assume: what a person says of the layers where the file says nothing (`forget_bias`, `reset_after`,
            `dim_ordering`, `backend`).

    Raises:
        UsageError: an assumption that no row asks about, or a forget bias that is no number.
    """
    told = {**_checked(assume or {}), **_backend(spec)}
    variables = {variable.name: variable for variable in spec.variables}
    reader = _Reader(told)
    layers = []
    for layer in spec.layers:
        weights = [variables[name] for name in layer.variables if variables[name].kind == "weight"]
        forms = reader.forms(layer, weights)
        layers.append(replace(layer, forms=forms) if forms else layer)
    return replace(spec, layers=tuple(layers))


@cache
def _questions() -> frozenset[str]:
    """What a row can depend on."""
    return frozenset(key for row in ROWS for key, _ in row.when) | {"forget_bias"}


def _backend(spec: CheckpointSpec) -> Mapping[str, str]:
    """Which way round convolution kernels lie, where the file tells: only Theano turns them.

    Keras writes its backend into legacy HDF5 files since 2.0; no other format was ever written from Theano.
    """
    producer = (spec.producer or "").lower()
    if "theano" in producer:
        return {"backend": "theano"}
    recorded = spec.format != "keras-h5" or "," in producer
    return {"backend": "tensorflow"} if recorded else {}


def _checked(assume: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in assume.items():
        if key not in _questions():
            raise UsageError("nothing to assume by that name", key=key, expected=", ".join(sorted(_questions())))
        if key == "forget_bias" and not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?", value):
            raise UsageError("the forget bias is a number", key=key, found=value)
    return assume


class _Reader:
    """Reads layer after layer, remembering the answers: large models repeat their layers."""

    def __init__(self, told: Mapping[str, str]) -> None:
        self._told = told
        self._candidates: dict[object, tuple[tuple[_Candidate, ...], frozenset[str]]] = {}
        self._readings: dict[object, tuple[_Reading, ...]] = {}

    def forms(self, layer: Layer, weights: list[Variable]) -> tuple[Form, ...]:
        """The readings of `layer`, which has these weights."""
        words = tuple((variable.name.removeprefix(f"{layer.name}/"), variable.role) for variable in weights)
        known = self._candidates.get((layer.dialect, words))
        if known is None:
            found = tuple(_candidates(layer.dialect, words))
            known = found, frozenset(snake_case(candidate.row.class_name) for candidate in found)
            self._candidates[layer.dialect, words] = known
        candidates, scopes = known
        if not candidates:
            return ()
        shapes = tuple(variable.shape for variable in weights)
        answers = {key: _plain(layer.config[key]) for key in _questions() if layer.config and key in layer.config}
        scope = snake_case(_AUTO_NUMBER.sub("", layer.name.rpartition("/")[2]))
        scope = scope if scope in scopes else ""
        decided = layer.config is not None
        question = (layer.dialect, words, shapes, decided, layer.kind, scope, tuple(sorted(answers.items())))
        if question not in self._readings:
            likeliest = _likeliest(candidates, layer.kind, decided, scope)
            self._readings[question] = tuple(_readings(likeliest, shapes, {**self._told, **answers}))
        return tuple(reading.form(weights) for reading in self._readings[question])


@cache
def _family(dialect: str) -> tuple[Row, ...]:
    """Rows of `dialect`, then those of its family."""
    family = next((family for family in _FAMILIES if dialect in family), ())
    return tuple(row for name in dict.fromkeys((dialect, *family)) for row in rows_of(name))


@cache
def _vocabulary(row: Row) -> Mapping[str, str]:
    """Every word that names a weight of `row` -> its suffix; a role counts where one variable alone has it first."""
    weights = [native for native in row.natives if native.kind == "weight"]
    roles = Counter(native.roles[0] for native in weights)
    words = {native.roles[0]: native.suffix for native in weights if roles[native.roles[0]] == 1}
    words.update((alias, native.suffix) for native in weights for alias in native.aliases)
    words.update((native.suffix, native.suffix) for native in weights)
    return words


def _candidates(dialect: str, words: tuple[tuple[str, str | None], ...]) -> Iterator[_Candidate]:
    """Rows of the family that explain exactly these (word, role) pairs."""
    for row in _family(dialect) if words else ():
        vocabulary = _vocabulary(row)
        named = tuple(vocabulary.get(word) or vocabulary.get(role or "", "") for word, role in words)
        required = {native.suffix for native in row.natives if native.kind == "weight" and not native.optional}
        for suffixes in _placed(row, words, named):
            if all(suffixes) and len(set(suffixes)) == len(suffixes) and required <= set(suffixes):
                yield _Candidate(row, suffixes)


def _placed(row: Row, words: tuple[tuple[str, str | None], ...], named: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """`named`, or where Keras 3 stores one variable by its place alone (`vars/0`), all that it could be in that place.

    A normalisation without its scale and one without its centre look alike in a file without an architecture.
    """
    places = [index for index, suffix in enumerate(named) if not suffix]
    if len(places) != 1 or not _PLACE.fullmatch(words[places[0]][0]):
        yield named
        return
    order = [native.suffix for native in row.natives if native.kind == "weight"]
    before, after = named[: places[0]], named[places[0] + 1 :]
    for suffix in order:
        suffixes = (*before, suffix, *after)
        ranks = [order.index(each) for each in suffixes]
        if all(one < other for one, other in pairwise(ranks)):
            yield suffixes


def _likeliest(candidates: Iterable[_Candidate], kind: str | None, decided: bool, scope: str) -> list[_Candidate]:
    """Candidates in order; only those that the architecture or the scope names, where there are such."""
    rows = list(candidates)
    rows = (decided and [item for item in rows if item.row.kind == kind]) or rows
    rows = [item for item in rows if snake_case(item.row.class_name) == scope] or rows
    return sorted(rows, key=lambda item: item.row.kind != kind)


def _readings(candidates: Iterable[_Candidate], shapes: tuple[Shape, ...], told: Mapping[str, str]) -> list[_Reading]:
    """The candidates whose shapes solve and which nothing known contradicts; of equal readings the first."""
    readings: dict[object, _Reading] = {}
    for candidate in candidates:
        row = candidate.row
        if any(told.get(key, _plain(value)) != _plain(value) for key, value in row.when):
            continue
        layouts = {native.suffix: native.layout for native in row.natives}
        by_suffix = dict(zip(candidate.suffixes, shapes, strict=True))
        dims = solve(((layouts[suffix], shape) for suffix, shape in by_suffix.items()), row.where)
        if dims is None:
            continue
        parts = infer_parts(row, dims, by_suffix)
        forget_bias = float(told.get("forget_bias", _FORGET_BIAS))
        assumed = (f"forget_bias={forget_bias}",) if adds_forget_bias(row) else ()
        lies = tuple(layouts[suffix] for suffix in candidate.suffixes)
        readings.setdefault((row.kind, parts, row.options, lies), _Reading(candidate, parts, dims, assumed))
    return [_with_doubt(reading, readings.values(), told) for reading in readings.values()]


def _with_doubt(reading: _Reading, readings: Iterable[_Reading], told: Mapping[str, str]) -> _Reading:
    """`reading` with what it takes for granted where another one has the same parts laid otherwise."""
    row = reading.candidate.row
    rivals = [other for other in readings if other is not reading and other.parts == reading.parts]
    keys = {key for other in rivals if other.candidate.row.kind == row.kind for key, _ in other.candidate.row.when}
    facts = tuple(f"{key}={_plain(value)}" for key, value in row.when if key in keys and key not in told)
    return replace(reading, assumed=(*reading.assumed, *facts)) if facts else reading


@cache
def adds_forget_bias(row: Row) -> bool:
    """Whether the framework adds a forget bias that is not in the checkpoint."""
    return any(
        gate.raised
        for native in row.natives
        for axis in parse_layout(native.layout).axes
        for piece in axis.pieces
        for gate in piece.gates
    )


def _plain(value: object) -> str:
    """A configuration's value as it is written in `--assume`."""
    return str(value).lower()


@lru_cache(maxsize=4096)  # scopes come from files: there can be any number of them
def snake_case(class_name: str) -> str:
    """The scope that a class gives itself: `BasicLSTMCell` is `basic_lstm_cell`, `Conv2DTranspose` `conv2d_transpose`.

    The rule is that of keras/src/utils/naming.py, `to_snake_case`.
    """
    return _WORD_END.sub(r"\1_\2", _WORD_START.sub(r"\1_\2", class_name)).lower()
