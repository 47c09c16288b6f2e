"""Which rows a layer could be: `read_forms` fills `Layer.forms`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ckptkit.conventions import torch
from ckptkit.conventions.candidates import (
    ANYWHERE,
    PLACE,
    RowCandidate,
    find_candidates,
    likeliest,
    plain_word,
    snake_case,
)
from ckptkit.conventions.flattening import FLATTEN, is_said
from ckptkit.conventions.layout import UNITS, Shape, parse_layout, solve
from ckptkit.conventions.reference import infer_parts
from ckptkit.conventions.tables import FURTHER, ROWS, rows_of
from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, Form, Layer, Part, Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.conventions.rows import Row


# The default of every cell that adds it (tensorflow rnn_cell, Sonnet 1).
_FORGET_BIAS = "1.0"

# By what the product of an adapter's factors is multiplied. Keras divides `lora_alpha` by the rank, which it is unless set.
LORA_SCALE = "lora_scale"
_LORA_SCALE = "1.0"

# Whether an embedding and the kernel of the logits are one table: asked of the whole checkpoint, not of a layer.
TIED = "tied"
TRANSPOSED = "transposed"

# The letters of a kernel's window.
_WINDOW = "XYZ"

# Questions whose answer is a number.
_NUMBERS = ("forget_bias", LORA_SCALE)

_PLACING = "keras3"

# Words that only Keras 3's quantized layers have.
_SCALES = ("kernel_scale", "embeddings_scale")
_SHORT = ("int8", "int4")

_AUTO_NUMBER = re.compile(r"_[0-9]{1,9}$")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A candidate whose shapes solve: all of a `Form` but the names."""

    candidate: RowCandidate
    parts: tuple[Part, ...]
    dims: Mapping[str, int]
    assumed: tuple[str, ...]
    options: tuple[str, ...]

    def form(self, weights: Iterable[Variable]) -> Form:
        """The reading of a layer that has these weights, in the order in which they were read."""
        row = self.candidate.row
        names = (weight.name for weight in weights)
        natives = tuple(zip(self.candidate.suffixes, names, strict=True))
        return Form(row.id, row.kind, self.parts, self.dims, natives, self.assumed, self.options, row.of)


def read_forms(spec: CheckpointSpec, assume: Mapping[str, str] | None = None) -> CheckpointSpec:
    """`spec` with the readings of each layer, the likeliest first.

    A row fits when it explains every weight of the layer by name, role or place, its shapes solve, and the layer's
    configuration, where the file has one, does not contradict it. Weights of which only the places are known have all
    readings that fit: the other side of a pair tells which one it is. What decides between rows of one set of names is
    the configuration, then the scope's own name (`lstm_cell`), then the dialect and the order of the tables.

    Args:
        spec: the canonical map.
        assume: what a person says of the layers where the file says nothing (`forget_bias`, `reset_after`,
            `dim_ordering`, `backend`).

    Raises:
        UsageError: an assumption that no row asks about, or a forget bias that is no number.
    """
    told = {**linear_of(spec), **_checked(assume or {}), **_backend(spec)}
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
    return frozenset(key for row in (*ROWS, *FURTHER) for key, _ in row.when) | {"forget_bias", LORA_SCALE, TIED}


def _backend(spec: CheckpointSpec) -> Mapping[str, str]:
    """Which way round convolution kernels lie, where the file tells: only Theano turns them.

    Keras writes its backend into legacy HDF5 files since 2.0; no other format was ever written from Theano.
    """
    producer = (spec.producer or "").lower()
    if "theano" in producer:
        return {"backend": "theano"}
    recorded = spec.format != "keras-h5" or "," in producer
    return {"backend": "tensorflow"} if recorded else {}


def linear_of(spec: CheckpointSpec) -> Mapping[str, str]:
    """How square matrices of PyTorch lie: as those do whose bias has the size of one axis only, where these agree."""
    layers = {layer.name for layer in spec.layers if layer.dialect == torch.DIALECT}
    weights: dict[str, list[Shape]] = {}
    for variable in spec.variables if layers else ():
        if variable.kind == "weight" and variable.role in ("kernel", "bias"):
            weights.setdefault(variable.layer, []).append(variable.shape)
    ways = {
        torch.OUTPUTS_FIRST if matrix[0] == bias[0] else torch.INPUTS_FIRST
        for name, shapes in weights.items()
        if name in layers and sorted(map(len, shapes)) == [1, 2]
        for bias, matrix in [sorted(shapes, key=len)]
        if matrix[0] != matrix[1] and bias[0] in matrix
    }
    return {torch.LINEAR: ways.pop()} if len(ways) == 1 else {}


def _checked(assume: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in assume.items():
        if is_said(key):
            continue
        if key not in _questions():
            raise UsageError("nothing to assume by that name", key=key, expected=", ".join(sorted(_questions())))
        if key == TIED and value != TRANSPOSED:
            raise UsageError("tied tables are transposed", key=key, expected=TRANSPOSED, found=value)
        if key in _NUMBERS and not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?", value):
            raise UsageError(f"the {key.replace('_', ' ')} is a number", key=key, found=value)
    return assume


class _Reader:
    """Reads layer after layer, remembering the answers: large models repeat their layers."""

    def __init__(self, told: Mapping[str, str]) -> None:
        self._told = told
        self._candidates: dict[object, tuple[tuple[RowCandidate, ...], frozenset[str]]] = {}
        self._readings: dict[object, tuple[_Reading, ...]] = {}

    def forms(self, layer: Layer, weights: list[Variable]) -> tuple[Form, ...]:
        """The readings of `layer`, which has these weights."""
        words = tuple(zip(_own_words(layer.name, weights), (variable.role for variable in weights), strict=True))
        placed = any(PLACE.fullmatch(word) for word, _ in words)
        if placed and _of_own_class(layer):
            return ()
        own = placed or any(word in _SCALES for word, _ in words)
        dialect = _PLACING if layer.dialect == "plain" and own else layer.dialect
        known = self._candidates.get((dialect, words))
        if known is None:
            found = tuple(find_candidates(dialect, words))
            known = found, frozenset(plain_word(candidate.row.class_name) for candidate in found)
            self._candidates[dialect, words] = known
        candidates, scopes = known
        # A counter is no quantized kernel: those have axes, and eight bits or fewer.
        integers = any(variable.shape and variable.dtype.endswith(_SHORT) for variable in weights)
        if placed and not integers:
            candidates = tuple(candidate for candidate in candidates if not candidate.row.integers)
        if not candidates:
            return ()
        shapes = tuple(variable.shape for variable in weights)
        config = layer.config or {}
        answers = {key: _plain(config[key]) for key in _questions() if key in config} if config else {}
        answers |= _lora_scale(config)
        scope = plain_word(_AUTO_NUMBER.sub("", layer.name.rpartition("/")[2]))
        scope = scope if scope in scopes else ""
        decided = layer.config is not None
        question = (dialect, words, shapes, integers, decided, layer.kind, scope, tuple(sorted(answers.items())))
        if question not in self._readings:
            told = {**self._told, **answers}
            readings = _readings(likeliest(candidates, layer.kind, decided, scope), shapes, told)
            if not readings and scope:  # `rnn` is what many call an LSTM
                readings = _readings(likeliest(candidates, layer.kind, decided, ""), shapes, told)
            self._readings[question] = tuple(readings)
        return tuple(reading.form(weights) for reading in self._readings[question])


def _own_words(layer: str, weights: Sequence[Variable]) -> list[str]:
    """What the variables are called within their layer: `scale` also where its author wrote `layer_norm/layer_norm_scale`."""
    words = [variable.name.removeprefix(f"{layer}/") for variable in weights]
    own = f"{layer.rpartition('/')[2]}_".lower()
    repeated = all(word.lower().startswith(own) and len(word) > len(own) for word in words)
    return [word[len(own) :] for word in words] if repeated else words


def _of_own_class(layer: Layer) -> bool:
    """Whether Keras's group for the layer (`layers/bag_3`) is called by a class that is none of Keras's.

    In which order such a class makes its variables nobody knows, whatever their shapes are like.
    """
    groups = [alias.partition("/")[2] for alias in layer.aliases if alias.startswith("layers/")]
    words = {_AUTO_NUMBER.sub("", group) for group in groups if "/" not in group}
    return bool(words) and words.isdisjoint(_keras_words())


@cache
def _keras_words() -> frozenset[str]:
    """The classes of Keras's layers that have variables, as groups are called by them."""
    rows = (row for dialect in ("keras3", "keras2") for row in rows_of(dialect))
    return frozenset([snake_case(name) for row in rows for name in (row.kind, row.class_name)])


def _readings(candidates: Iterable[RowCandidate], shapes: tuple[Shape, ...], told: Mapping[str, str]) -> list[_Reading]:
    """The candidates whose shapes solve and which nothing known contradicts; of equal readings the first."""
    readings: dict[object, _Reading] = {}
    explained: set[str] = set()
    for candidate in candidates:
        row = candidate.row
        if row.dialect == ANYWHERE and (row.of or row.kind) in explained:
            continue
        if any(told.get(key, _plain(value)) != _plain(value) for key, value in row.when):
            continue
        layouts = {native.suffix: native.layout for native in row.natives}
        by_suffix = dict(zip(candidate.suffixes, shapes, strict=True))
        dims = solve(((layouts[suffix], shape) for suffix, shape in by_suffix.items()), row.where)
        if dims is None or _is_another_view(row, dims):
            continue
        parts = infer_parts(row, dims, by_suffix)
        forget_bias = float(told.get("forget_bias", _FORGET_BIAS))
        assumed: tuple[str, ...] = (f"forget_bias={forget_bias}",) if adds_forget_bias(row) else ()
        if row.adapters:
            assumed += (f"{LORA_SCALE}={float(told.get(LORA_SCALE, _LORA_SCALE))}",)
        lies = tuple(_lies(layouts[suffix], shape) for suffix, shape in by_suffix.items())
        options = _options(row, by_suffix[row.natives[0].suffix]) if row.of else row.options
        reading = _Reading(candidate, parts, dims, assumed, options)
        readings.setdefault((row.kind, parts, options, lies, row.where), reading)
        if row.dialect != ANYWHERE:
            explained.add(row.of or row.kind)
    return [_with_doubt(reading, readings.values(), told) for reading in readings.values()]


def _lies(layout: str, shape: Shape) -> str:
    """`layout` without the words that stand for no axis of `shape`."""
    words = layout.split()
    own = [word for word in words if word != UNITS]
    return " ".join(own if len(own) == len(shape) else words)


def _is_another_view(row: Row, dims: Mapping[str, int]) -> bool:
    """Whether `row` takes a kernel of width 1 for one that covers its input, which is another view's affair."""
    return any(key == FLATTEN for key, _ in row.when) and all(dims.get(axis, 1) == 1 for axis in _WINDOW)


def _options(row: Row, shape: Shape) -> tuple[str, ...]:
    """The facts that must agree; of two layers of one kind that are taken for another also the very shape.

    Heads of another size are another function although both are matrix products of equal size.
    """
    seen = (f"{snake_case(row.of)}={'x'.join(map(str, shape))}",) if row.of and row.of != row.kind else ()
    return (*row.options, *seen)


def _with_doubt(reading: _Reading, readings: Iterable[_Reading], told: Mapping[str, str]) -> _Reading:
    """`reading` with what it takes for granted where another one has the same parts laid otherwise."""
    row = reading.candidate.row
    rivals = [other for other in readings if other is not reading and other.parts == reading.parts]
    keys = {key for other in rivals if other.candidate.row.kind == row.kind for key, _ in other.candidate.row.when}
    facts = tuple(f"{key}={_plain(value)}" for key, value in row.when if key in keys and key not in told)
    return replace(reading, assumed=(*reading.assumed, *facts)) if facts else reading


def _lora_scale(config: Mapping[str, object]) -> dict[str, str]:
    """By what the architecture says that an adapter is multiplied (keras/src/layers/core/dense.py, kernel)."""
    rank, alpha = config.get("lora_rank"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank <= 0:
        return {}
    return {LORA_SCALE: str(alpha / rank)}


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
