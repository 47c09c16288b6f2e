"""Which rows a layer could be: `read_forms` fills `Layer.forms`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from ckptkit.conventions import torch
from ckptkit.conventions.flattening import FLATTEN, is_said
from ckptkit.conventions.layout import UNITS, Shape, parse_layout, solve
from ckptkit.conventions.reference import infer_parts
from ckptkit.conventions.tables import FURTHER, ROWS, further_rows_of, rows_of
from ckptkit.errors import UsageError
from ckptkit.model import CheckpointSpec, Form, Layer, Part, Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ckptkit.conventions.rows import Native, Row

# Dialects that meet in one checkpoint and share their words: what a scope holds decides, not who named its neighbours.
# Haiku's names are Sonnet's where nothing but one level of modules is stored.
_FAMILIES = (("keras3", "keras2"), ("sonnet2", "haiku"), ("tf_layers", "rnn_cell", "slim", "sonnet1", "haiku"))

# Words of people's own stand beside those of every framework, and alone where none is recognised.
_ANYWHERE = "by_hand"

# Whose axes lie in an order of their own, so that words of nobody mean nothing beside its own.
_FOREIGN = ("torch",)

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

# A variable of which Keras 3's layout tells nothing but its place, and whose it is therefore.
_PLACE = re.compile(r"vars/[0-9]+")
_PLACING = "keras3"

# Words that only Keras 3's quantized layers have.
_SCALES = ("kernel_scale", "embeddings_scale")
_SHORT = ("int8", "int4")

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
        self._candidates: dict[object, tuple[tuple[_Candidate, ...], frozenset[str]]] = {}
        self._readings: dict[object, tuple[_Reading, ...]] = {}

    def forms(self, layer: Layer, weights: list[Variable]) -> tuple[Form, ...]:
        """The readings of `layer`, which has these weights."""
        words = tuple(zip(_own_words(layer.name, weights), (variable.role for variable in weights), strict=True))
        placed = any(_PLACE.fullmatch(word) for word, _ in words)
        if placed and _of_own_class(layer):
            return ()
        own = placed or any(word in _SCALES for word, _ in words)
        dialect = _PLACING if layer.dialect == "plain" and own else layer.dialect
        known = self._candidates.get((dialect, words))
        if known is None:
            found = tuple(_candidates(dialect, words))
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
            readings = _readings(_likeliest(candidates, layer.kind, decided, scope), shapes, told)
            if not readings and scope:  # `rnn` is what many call an LSTM
                readings = _readings(_likeliest(candidates, layer.kind, decided, ""), shapes, told)
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


@cache
def _family(dialect: str) -> tuple[Row, ...]:
    """Rows of `dialect`, then those of its family and of nobody, then what all of them can be taken for."""
    family = next((family for family in _FAMILIES if dialect in family), ())
    dialects = dict.fromkeys((dialect, *family, *((_ANYWHERE,) if dialect not in _FOREIGN else ())))
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
    """`named`, or where Keras 3 stores variables by their places alone (`vars/0`), all that they could be there.

    A normalisation without its scale and one without its centre look alike in a file without an architecture, and so do
    an embedding and a matrix product without a bias.
    """
    places = [index for index, suffix in enumerate(named) if not suffix]
    if not places or row.dialect == _ANYWHERE or not all(_PLACE.fullmatch(words[index][0]) for index in places):
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


def _likeliest(candidates: Iterable[_Candidate], kind: str | None, decided: bool, scope: str) -> list[_Candidate]:
    """Candidates in order; only those that the architecture or the scope names, where there are such."""
    rows = [item for item in candidates if not item.row.called or _is_called(item.row, kind, scope)]
    rows = (decided and [item for item in rows if kind in (item.row.of or item.row.kind, item.row.kind)]) or rows
    rows = [item for item in rows if plain_word(item.row.class_name) == scope] or rows
    return sorted(rows, key=lambda item: (item.row.of != "", item.row.kind != kind))


def _is_called(row: Row, kind: str | None, scope: str) -> bool:
    return kind in (row.of or row.kind, row.kind) or plain_word(row.class_name) == scope


def _readings(candidates: Iterable[_Candidate], shapes: tuple[Shape, ...], told: Mapping[str, str]) -> list[_Reading]:
    """The candidates whose shapes solve and which nothing known contradicts; of equal readings the first."""
    readings: dict[object, _Reading] = {}
    explained: set[str] = set()
    for candidate in candidates:
        row = candidate.row
        if row.dialect == _ANYWHERE and (row.of or row.kind) in explained:
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
        if row.dialect != _ANYWHERE:
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


def plain_word(word: str) -> str:
    """A class or scope as frameworks differ not over it: `DepthwiseConv2D`, `depthwise_conv2_d`, `depthwise_conv2d`."""
    return word.replace("_", "").lower()


@lru_cache(maxsize=4096)  # scopes come from files: there can be any number of them
def snake_case(class_name: str) -> str:
    """The scope that a class gives itself: `BasicLSTMCell` is `basic_lstm_cell`, `Conv2DTranspose` `conv2d_transpose`.

    The rule is that of keras/src/utils/naming.py, `to_snake_case`.
    """
    return _WORD_END.sub(r"\1_\2", _WORD_START.sub(r"\1_\2", class_name)).lower()
