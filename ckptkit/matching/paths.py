"""Layer paths as people and frameworks write them, made comparable.

A path becomes components from which everything that carries no meaning is taken: framework words, wrappers, partition
suffixes, repetitions. A component that a framework numbered by itself (`dense_1`) keeps its counter apart from its
base, so that names can be compared with and without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["forward", "backward", ""]

# Scopes and attributes that the frameworks put between a layer and its variables, or above all layers: Keras 3's
# `.weights.h5` groups, tf.train.Checkpoint's edges and tf.nn.rnn_cell's scopes. They say nothing of which layer it is.
_NOISE = frozenset({
    "_layer_checkpoint_dependencies", "basic_lstm_cell", "basic_rnn_cell", "bidirectional_rnn", "cell", "cells",
    "cudnn_compatible_gru_cell", "cudnn_compatible_lstm_cell", "gru_block_cell", "gru_cell", "keras_api", "layer",
    "layer_norm_basic_lstm_cell", "layers", "lstm_block_cell", "lstm_cell", "model_weights", "multi_rnn_cell",
    "rnn", "simple_rnn_cell", "stacked_rnn_cells", "top_level_model_weights", "variables", "vars",
})  # fmt: skip

# Words of tf.train.Checkpoint that number layers and do not name them; partitions of one variable.
_NUMBERED_NOISE = re.compile(r"(?:layer_with_weights|layer|part)_\d+|(?:basic_)?(?:lstm|gru|rnn|simple_rnn)_cell_\d+")

# Classes' own words, from which Keras, tf.layers and Sonnet make names where the user gives none. A layer's kind adds
# its own: this table is for what has none.
_AUTOMATIC = frozenset({
    "activation", "average_pooling2d", "batch_norm", "batch_normalization", "bidirectional", "conv1_d", "conv1d",
    "conv2_d", "conv2_d_transpose", "conv2d", "conv2d_transpose", "conv3d", "conv_1d", "conv_2d", "conv_3d",
    "conv_lstm2d", "convolution1d", "convolution2d", "dense", "depthwise_conv2d", "embed", "embedding",
    "embedding_lookup", "functional", "group_norm", "gru", "layer_norm", "layer_normalization", "linear", "lstm",
    "mlp", "model", "multi_head_attention", "p_re_lu", "prelu", "separable_conv1d", "separable_conv2d",
    "sequential", "simple_rnn", "time_distributed", "vanilla_rnn", "variable",
})  # fmt: skip

_COUNTER = re.compile(r"(.*[^_\d])_(\d{1,9})")
_KERAS_SUFFIX = re.compile(r":\d+$")
_FORWARD = re.compile(r"(?:fw|fwd|forward)(?:_.*)?")
_BACKWARD = re.compile(r"(?:bw|bwd|backward)(?:_.*)?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_NO_COUNTER = -1


@dataclass(frozen=True, slots=True)
class LayerPath:
    """A layer's path without what carries no meaning.

    Attributes:
        words: its components, lower case, outermost first; () where nothing meaningful is left.
        bases: the same without counters (`dense_1` is `dense`).
        counters: the counters, -1 for a component without one.
        direction: which half of a bidirectional layer it is, where the path says so.
        automatic: whether the last component is what a framework calls a layer that its user did not name.
    """

    words: tuple[str, ...]
    bases: tuple[str, ...]
    counters: tuple[int, ...]
    direction: Direction
    automatic: bool


def parse_path(path: str, kind: str | None = None) -> LayerPath:
    """Take apart the path of a layer of class `kind`.

    Example: `decoder/decoder/basic_lstm_cell` has the words `("decoder",)`.
    """
    words: list[str] = []
    direction: Direction = ""
    for part in re.split(r"[/\\]", path):
        if part.startswith("."):  # .ATTRIBUTES/VARIABLE_VALUE and .OPTIMIZER_SLOT belong to the file, not to the layer
            break
        word = _KERAS_SUFFIX.sub("", part).lower().replace("-", "_").replace(".", "_")
        if _FORWARD.fullmatch(word):
            direction = "forward"
        elif _BACKWARD.fullmatch(word):
            direction = "backward"
        if word and word not in _NOISE and not _NUMBERED_NOISE.fullmatch(word) and (not words or words[-1] != word):
            words.append(word)
    split = [_split_counter(word) for word in words]
    bases = tuple(base for base, _ in split)
    own = () if kind is None else (_snake(kind),)
    automatic = bool(bases) and (bases[-1] == "" or bases[-1] in _AUTOMATIC or bases[-1] in own)
    return LayerPath(tuple(words), bases, tuple(counter for _, counter in split), direction, automatic)


def _split_counter(word: str) -> tuple[str, int]:
    if word.isascii() and word.isdigit() and len(word) < 10:
        return "", int(word)
    found = _COUNTER.fullmatch(word)
    return (found[1], int(found[2])) if found else (word, _NO_COUNTER)


def _snake(kind: str) -> str:
    """A class name as Keras makes a layer name of it: `BatchNormalization` is `batch_normalization`."""
    return _HUMP.sub("_", kind).lower()


def without_common_prefixes(
    paths_a: Sequence[LayerPath], paths_b: Sequence[LayerPath]
) -> tuple[list[LayerPath], list[LayerPath]]:
    """The paths of two sides without the components that all paths of a side begin with; each keeps its last one.

    A path that names nothing has no say in it. A component stays that tells scopes apart on the other side: where
    that has `generator/conv` and `discriminator/conv`, the `generator/` of this side is no mere prefix.
    """
    length_a, length_b = _common(paths_a), _common(paths_b)
    within_a = {word for path in paths_a for word in path.words[length_a:-1]}
    within_b = {word for path in paths_b for word in path.words[length_b:-1]}
    return _without_prefix(paths_a, length_a, within_b), _without_prefix(paths_b, length_b, within_a)


def _without_prefix(paths: Sequence[LayerPath], length: int, kept: set[str]) -> list[LayerPath]:
    prefix = next((path.words[:length] for path in paths if path.words), ())
    length = next((at for at, word in enumerate(prefix) if word in kept), length)
    return [_cut(path, length) for path in paths] if length else list(paths)


def _common(paths: Sequence[LayerPath]) -> int:
    """How many components all paths begin with; fewer than the shortest has."""
    every = [path.words for path in paths if path.words]
    if not every:
        return 0
    first, last = min(every), max(every)  # what these two share, all between them do
    shortest = min(map(len, every)) - 1
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return min(at, shortest)
    return shortest


def _cut(path: LayerPath, length: int) -> LayerPath:
    return LayerPath(path.words[length:], path.bases[length:], path.counters[length:], path.direction, path.automatic)
