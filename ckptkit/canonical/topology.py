"""What feeds what: the graph that an architecture describes, reduced to the layers that own weights.

A serialised functional model lists for each layer its calls with the tensors that went in (`inbound_nodes`), as (layer,
number of the call, number of the output). Keras 1 and 2 write such triples in nested lists, keyword arguments in a fourth
entry; Keras 3 writes `keras_history` within serialised tensors. Nested models are walked through as often as they are called.

Sources: keras/src/models/functional.py, `get_config`, `process_node`; tf_keras/src/engine/functional.py, `get_network_config`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from ckptkit.canonical.architecture import Node
from ckptkit.canonical.wrapped import PROJECTIONS
from ckptkit.model import Flow

Reach = tuple[str, ...]
"""Layers with weights, and `input:N`, that reach a tensor through anything without weights."""

# Most layers and sources that are walked over, all calls of nested models counted: beyond that nothing is said.
_MOST_STEPS = 2_000_000

# Models within models beyond this are not walked into.
_DEEPEST = 32

# Positional arguments of an attention's call -> the projection that each goes into; the key defaults to the value
# (keras/src/layers/attention/multi_head_attention.py and grouped_query_attention.py, `call`).
_ATTENTION = ("query", "value", "key")


# What a tensor went through since it left its layer, as characters before the name, which no name begins with.
_FLATTENED, _JOINED, _OTHER = "\x01", "\x02", "\x03"
_MARKS = {_FLATTENED: "flatten", _JOINED: "join", _OTHER: "other"}

# Classes without weights, by what they do to the features of their input; those that leave order and number alone are more
# than the others, and are told by how their names begin or end (keras/src/layers, keras/src/ops).
_FLATTENING = frozenset({"Flatten", "Reshape", "Ravel"})
_JOINING = frozenset({"Concatenate", "Merge", "Concat"})
_HARMLESS = re.compile(
    r"InputLayer|.*(?:Pool\w*|Pooling[123]D|Dropout[123]?D?|Padding[123]D|Cropping[123]D|UpSampling[123]D)|Gaussian\w+"
    r"|Activation|ActivityRegularization|\w*(?:Relu|ReLU|ELU|Elu|elu)6?|Softmax|Sigmoid|Tanh|Silu|HardSwish|Hardswish|HardSigmoid"
    r"|Add|Subtract|Multiply|Average|Maximum|Minimum|Rescaling|Normalization|\w+Normalization|Masking|Identity|Mean|Cast"
    r"|Resizing|Random\w+|CenterCrop"
)


class _GivenUpError(Exception):
    """The architecture is not as Keras writes it, or too large."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a layer: what goes in, as (name of the argument or "", source)."""

    node: Node
    number: int
    inputs: tuple[tuple[str, tuple[str, int, int]], ...]


def read_topology(root: Node, layers: Iterable[str], named: Mapping[str, Node] | None = None) -> Flow | None:
    """The graph of an architecture; None where it has none, or where it cannot be made out.

    Args:
        root: the outermost model.
        layers: canonical paths of the layers that own weights.
        named: canonical path -> the node that it stands for, where that is not its own.
    """
    walk = _Walk(root, layers, {id(node): name for name, node in (named or {}).items()})
    try:
        outputs = walk.model(root, None, 0)
    except _GivenUpError:
        return None
    passes = {
        layer: tuple((_plain(name), what) for name in found for mark, what in _MARKS.items() if mark in name)
        for layer, found in walk.feeds.items()
    }
    feeds = {layer: tuple(dict.fromkeys(map(_plain, found))) for layer, found in walk.feeds.items()}
    ends = tuple(tuple(dict.fromkeys(map(_plain, found))) for found in outputs)
    return Flow(feeds, ends, passes, tuple(_input_shapes(root)))


class _Walk:
    """Goes through a model call by call, and notes what reaches each layer."""

    def __init__(self, root: Node, layers: Iterable[str], names: Mapping[int, str]) -> None:
        self.feeds: dict[str, dict[str, None]] = {}
        self._steps = 0
        self._owned = _owned(root, layers, names)
        self._calls: dict[int, list[_Call]] = {}

    def model(self, model: Node, inputs: Sequence[Reach] | None, depth: int) -> list[Reach]:
        """What reaches each output of `model`; its inputs are the outermost ones where None are given."""
        if depth > _DEEPEST:
            raise _GivenUpError
        if model.class_name == "Sequential":
            return self._chain(model, inputs, depth)
        if not isinstance(model.config.get("output_layers"), (list, tuple, Mapping)):
            raise _GivenUpError
        sources = list(_triples(model.config.get("input_layers")))
        given = [(f"input:{number}",) for number in range(len(sources))] if inputs is None else inputs
        if len(given) < len(sources):
            raise _GivenUpError
        known: dict[tuple[str, int], list[Reach]] = {}
        for (name, number, _), reach in zip(sources, given, strict=False):
            known[name, number] = [reach]
        for call in self._in_order(model, known.keys()):
            if (call.node.name, call.number) not in known:
                arrived = [(word, _at(known, source)) for word, source in call.inputs]
                known[call.node.name, call.number] = self._layer(call.node, arrived, depth)
        return [_at(known, source) for source in _outputs_of(model)]

    def _chain(self, model: Node, inputs: Sequence[Reach] | None, depth: int) -> list[Reach]:
        reach: list[Reach] = [("input:0",)] if inputs is None else list(inputs)
        for child in model.children:
            if child.class_name != "InputLayer":
                reach = self._layer(child, [("", each) for each in reach], depth)
        return reach

    def _layer(self, node: Node, arrived: Sequence[tuple[str, Reach]], depth: int) -> list[Reach]:
        """What reaches the outputs of one call."""
        inputs = [reach for _, reach in arrived]
        self._steps += 1 + sum(map(len, inputs))
        if self._steps > _MOST_STEPS:
            raise _GivenUpError
        if _is_graph(node):
            return self.model(node, inputs, depth + 1)
        inner = node.parts.get("layer")
        if inner is not None and _is_graph(inner):
            return self.model(inner, inputs, depth + 1)
        owned = self._owned.get(id(node), [])
        everything = _union(inputs)
        if not owned:
            mark = _mark(node, len(inputs))
            return [tuple(mark + name if mark not in name else name for name in everything) if mark else everything]
        if node.class_name == "SpectralNormalization":
            # What it owns itself changes the kernel of the layer in it, and only in training.
            for layer in owned:
                self._note(layer, everything)
            return [tuple(layer for layer in owned if layer != node.path) or tuple(owned)]
        if len(owned) == 1 or "forward_layer" in node.parts:
            for layer in owned:
                self._note(layer, everything)
            return [tuple(owned)]
        words = {layer.rpartition("/")[2]: layer for layer in owned}
        if words.keys() <= set(PROJECTIONS.values()) and "attention_output" in words:
            return self._attention(words, arrived)
        # What happens inside of a layer of the user's own is not in the file.
        return [tuple(owned)]

    def _attention(self, words: Mapping[str, str], arrived: Sequence[tuple[str, Reach]]) -> list[Reach]:
        places = dict(zip(_ATTENTION, (reach for word, reach in arrived if not word), strict=False))
        places.update({word: reach for word, reach in arrived if word in _ATTENTION})
        places.setdefault("key", places.get("value", ()))
        for word, layer in words.items():
            if word in places:
                self._note(layer, places[word])
        self._note(words["attention_output"], tuple(words[word] for word in ("query", "key", "value") if word in words))
        return [(words["attention_output"],)]

    def _note(self, layer: str, reach: Reach) -> None:
        self.feeds.setdefault(layer, {}).update(dict.fromkeys(reach))

    def _in_order(self, model: Node, given: Iterable[tuple[str, int]]) -> Iterator[_Call]:
        """The calls inside `model`, each after those that it takes from; what never becomes ready is left out."""
        if id(model) not in self._calls:
            self._calls[id(model)] = _calls_of(model)
        calls = self._calls[id(model)]
        self._steps += len(calls)
        waiting: dict[tuple[str, int], list[int]] = {}
        missing = [0] * len(calls)
        made = {(call.node.name, call.number) for call in calls}
        for place, call in enumerate(calls):
            for source in {(name, number) for _, (name, number, _) in call.inputs}:
                if source in made:
                    missing[place] += 1
                    waiting.setdefault(source, []).append(place)
        ready = deque(place for place, count in enumerate(missing) if not count)
        entered = set(given)
        ready.extend(
            place for place, call in enumerate(calls) if missing[place] and (call.node.name, call.number) in entered
        )
        done: set[int] = set()
        while ready:
            place = ready.popleft()
            if place in done:
                continue
            done.add(place)
            yield calls[place]
            for other in waiting.get((calls[place].node.name, calls[place].number), ()):
                missing[other] -= 1
                if not missing[other]:
                    ready.append(other)


def _mark(node: Node, inputs: int) -> str:
    """What a layer without weights does to the features of what goes in; "" where it leaves their order and number alone."""
    inner = node.parts.get("layer")
    name = inner.class_name if inner is not None else node.class_name
    if name in _FLATTENING:
        return _FLATTENED
    if name in _JOINING:
        return _JOINED if inputs > 1 else ""
    return "" if _HARMLESS.fullmatch(name) else _OTHER


def _plain(name: str) -> str:
    """A name without the marks before it."""
    return name.lstrip("".join(_MARKS))


def _input_shapes(root: Node) -> Iterator[tuple[int | None, ...] | None]:
    """The shape of each input without the batch, in the order in which the inputs are numbered."""
    if root.class_name == "Sequential":
        yield _input_shape(root.children[0]) if root.children else None
        return
    nodes = {node.name: node for node in root.children}
    for name, _, _ in _triples(root.config.get("input_layers")):
        yield _input_shape(nodes[name]) if name in nodes else None


def _input_shape(node: Node) -> tuple[int | None, ...] | None:
    for key in ("batch_shape", "batch_input_shape"):
        shape = node.config.get(key)
        if isinstance(shape, (list, tuple)) and shape and all(size is None or type(size) is int for size in shape):
            return tuple(shape[1:])
    return None


def _owned(root: Node, layers: Iterable[str], names: Mapping[int, str]) -> dict[int, list[str]]:
    """The layers with weights that each layer of the architecture is or holds."""
    by_path: dict[str, Node] = {}
    stack = list(root.children)
    while stack:
        node = stack.pop()
        by_path[names.get(id(node), node.path)] = node
        if _is_graph(node):
            stack += node.children
        elif "layer" in node.parts and _is_graph(node.parts["layer"]):
            stack += node.parts["layer"].children
    owned: dict[int, list[str]] = {}
    for layer in layers:
        path = layer
        while path and path not in by_path:
            path = path.rpartition("/")[0]
        if path:
            owned.setdefault(id(by_path[path]), []).append(layer)
    return owned


def _is_graph(node: Node) -> bool:
    """Whether `node` is a model whose insides the architecture tells."""
    return bool(node.children) and (node.class_name == "Sequential" or "output_layers" in node.config)


def _calls_of(model: Node) -> list[_Call]:
    calls = []
    for node in model.children:
        found = node.inbound if isinstance(node.inbound, list) else []
        calls += [_Call(node, number, tuple(_arguments(item))) for number, item in enumerate(found or [[]])]
    asked: dict[str, set[int]] = {}
    for name, number, _ in (
        *(source for call in calls for _, source in call.inputs),
        *_triples(model.config["output_layers"]),
    ):
        asked.setdefault(name, set()).add(number)
    late = {node.name for node in model.children if _counts_from_one(node, asked.get(node.name, set()))}
    return [replace(call, number=call.number + 1) if call.node.name in late else call for call in calls]


def _outputs_of(model: Node) -> Iterator[tuple[str, int, int]]:
    """The sources of a model's outputs. There alone Keras 3 still counts the making of a nested model as its call 0."""
    nested = {
        node.name
        for node in model.children
        if _is_graph(node) and node.class_name != "Sequential" and isinstance(node.inbound, list)
        if node.inbound and isinstance(node.inbound[0], Mapping)
    }
    for name, number, output in _triples(model.config.get("output_layers")):
        yield name, number - 1 if name in nested and number else number, output


def _counts_from_one(node: Node, asked: set[int]) -> bool:
    """Whether the calls of a nested model are numbered from 1: before Keras 3 its own making was call 0."""
    calls = node.inbound if isinstance(node.inbound, list) else []
    if not _is_graph(node) or not calls or 0 in asked or isinstance(calls[0], Mapping):
        return False
    return len(calls) in asked or node.children[0].class_name == "InputLayer"


def _arguments(item: object) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """The tensors of one call: (keyword or "", source), in the order of the arguments."""
    if isinstance(item, Mapping) and ("args" in item or "kwargs" in item):
        yield from (("", source) for source in _triples(item.get("args")))
        keywords = item.get("kwargs")
    else:
        keywords = None
        for entry in item if isinstance(item, list) and not _is_triple(item) else [item]:
            yield from (("", source) for source in _triples(entry, depth=1))
            if keywords is None and _is_triple(entry) and len(entry) > 3 and isinstance(entry[3], Mapping):
                keywords = entry[3]
    if isinstance(keywords, Mapping):
        for word, value in keywords.items():
            yield from ((str(word), source) for source in _triples(value))


def _triples(value: object, depth: int = 0) -> Iterator[tuple[str, int, int]]:
    """Every (layer, call, output) within `value`, in order; constants and everything else is passed over."""
    if depth > _DEEPEST:
        raise _GivenUpError
    if _is_triple(value):
        yield value[0], value[1], value[2]
    elif isinstance(value, Mapping):
        config = value.get("config")
        if value.get("class_name") == "__keras_tensor__" and isinstance(config, Mapping):
            yield from _triples(config.get("keras_history"), depth + 1)
        else:
            for inner in value.values():
                yield from _triples(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _triples(inner, depth + 1)


def _is_triple(value: object) -> TypeGuard[list[Any]]:
    return (
        isinstance(value, (list, tuple))
        and 3 <= len(value) <= 4
        and isinstance(value[0], str)
        and type(value[1]) is int
        and type(value[2]) is int
        and value[1] >= 0
    )


def _at(known: Mapping[tuple[str, int], Sequence[Reach]], source: tuple[str, int, int]) -> Reach:
    """What reaches the tensor `source`. A layer without weights inside it has one answer for all of its outputs."""
    name, number, output = source
    found = known.get((name, number))
    if not found:
        raise _GivenUpError
    return found[output] if 0 <= output < len(found) else _union(found)


def _union(reaches: Iterable[Reach]) -> Reach:
    return tuple(dict.fromkeys(name for reach in reaches for name in reach))
