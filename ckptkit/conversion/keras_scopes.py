"""The scopes in which the weights of a Keras model can have been made, which their paths begin with.

The path of a variable begins with the layer that was built by itself. A model that is made from an architecture builds every
layer of it so (keras/src/saving/serialization_lib.py, `build_config`), while in one that was made by code a `Sequential`, a
wrapper or a subclassed model builds what it holds. A model of functions finds its layers built.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit.canonical.architecture import Node, parse_architecture, serialised_names
from ckptkit.canonical.keras_tree import TRAINED, UNTRAINED
from ckptkit.canonical.words import NEVER_TRAINED
from ckptkit.canonical.wrapped import PROJECTIONS
from ckptkit.conventions.candidates import snake_case
from ckptkit.errors import RefusedError
from ckptkit.model import OPTIMIZER, CheckpointSpec, Layer, Variable

Path = tuple[str, ...]

# Layers that make their cell themselves, and what they call it (keras/src/layers/rnn).
_CELLS = {
    "LSTM": "lstm_cell", "GRU": "gru_cell", "SimpleRNN": "simple_rnn_cell", "ConvLSTM1D": "conv_lstm_cell",
    "ConvLSTM2D": "conv_lstm_cell", "ConvLSTM3D": "conv_lstm_cell",
}  # fmt: skip
_UNNAMED = re.compile(r"(?:.*/)?vars/[0-9]+")
_NUMBERED = re.compile(r"(.*?)(?:_([0-9]+))?")
# What a layer of the user can hold besides single layers, by the class that Keras counts.
_MADE_INSIDE = frozenset({"sequential", "functional"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a layer lies.

    Attributes:
        nodes: the architecture's that its path leads through, the outermost model first.
        inside: names of layers inside the last of them that it does not list, as the file has them.
        own: how many of `inside` lie above the innermost one that has a configuration of its own.
        attributes: those of `inside` that can be lists, and no layers.
    """

    nodes: tuple[Node, ...]
    inside: Path
    own: int
    attributes: frozenset[str]


class Weights:
    """Paths of weights by an architecture."""

    def __init__(self, spec: CheckpointSpec, config: Mapping[str, Any]) -> None:
        inner = config.get("config")
        inner = inner if isinstance(inner, Mapping) else {}
        self._spec = spec
        self._root = parse_architecture(config) or Node("", str(config.get("class_name")), inner)
        name = inner.get("name")
        self._root_name = name if isinstance(name, str) else snake_case(self._root.class_name)
        self._words = _stored_paths(spec)
        self._layers = {layer.name: layer for layer in spec.layers}
        self._places = {layer.name: self._place(layer) for layer in spec.layers}
        self._anew = self._numbered_anew()

    def paths(self, weights: Sequence[Variable]) -> dict[str, tuple[Path, ...]]:
        """Canonical name -> paths."""
        slots = {each.slot_of for each in self._spec.variables if each.slot_of}
        found = {}
        for variable in weights:
            stored = self._words.get(variable.key)
            own = stored[-1:] if stored else tuple(variable.name.removeprefix(f"{variable.layer}/").split("/"))
            if variable.layer not in self._layers or _UNNAMED.fullmatch("/".join(own)):
                raise RefusedError(
                    "the file does not say what Keras calls this weight", path=self._spec.path, key=variable.name
                )
            scopes = [*self._scopes(variable.layer), *([stored[:-1]] if stored else [])]
            roots = self._roots(variable, own, trained=variable.name in slots)
            paths = dict.fromkeys((root, *scope, *own) for scope in scopes for root in roots)
            found[variable.name] = tuple(paths)
        return found

    def _place(self, layer: Layer) -> _Place:
        nodes, parts = [self._root], tuple(layer.name.split("/"))
        while True:
            node = nodes[-1]
            inner = node.parts.get("layer") or node.parts.get("cell")
            found = next((each for each in (*node.children, *node.parts.values()) if parts[:1] == (each.name,)), None)
            if found is not None:
                nodes.append(found)
                parts = parts[1:]
            elif inner is not None and (node.class_name != "SpectralNormalization" or parts):
                nodes.append(inner)
            else:
                break
        names = set(serialised_names(nodes[-1].config)) if parts else set()
        group = next((alias.split("/") for alias in layer.aliases if _is_group(alias)), [])
        if parts and parts[-1] not in PROJECTIONS.values():
            stored = self._stored(layer, nodes[-1].name)
            parts = stored[-len(parts) :] if len(stored) > len(parts) else stored or parts
        own = max((place for place, part in enumerate(parts) if part in names), default=-1)
        return _Place(tuple(nodes), parts, own, frozenset(group[:-1]))

    def _stored(self, layer: Layer, above: str) -> Path:
        """What the layers around and at `layer` are called in the file, below the one called `above`."""
        variables = {each.name: each.key for each in self._spec.variables if each.layer == layer.name}
        word = next((self._words[key] for key in variables.values() if key in self._words), ())[:-1]
        if not word:
            word = next((tuple(alias.split("/")) for alias in layer.aliases if not _is_group(alias)), ())
        return word[word.index(above) + 1 :] if above in word else word

    def _scopes(self, name: str) -> Iterator[Path]:
        """In which the weights of a layer can have been made, that of a model from the architecture first."""
        place = self._places[name]
        node, inside = place.nodes[-1], place.inside
        cell = (_CELLS[node.class_name],) if node.class_name in _CELLS and not inside else ()
        anew = tuple(self._anew.get((name, end), part) for end, part in enumerate(inside))
        layers = tuple(part for part in inside[:-1] if part not in place.attributes) + inside[-1:]
        around: Path = ()
        if place.own >= 0:
            yield (*anew[place.own :], *cell)
        elif len(place.nodes) == 1:
            yield anew
        for node in reversed(place.nodes):
            if _is_graph(node):
                return
            around = (self._root_name if node is self._root else node.name, *around)
            yield from ((*around, *anew, *cell), (*around, *layers, *cell), (*around, *inside, *cell))
            if inside and node is place.nodes[-1]:
                yield anew  # where what holds it is itself a model

    def _numbered_anew(self) -> dict[tuple[str, int], str]:
        """(layer, place in its path) -> name of what Keras named by its class inside of a layer of the user.

        Such names are counted by the process; in one that makes nothing else they begin without a number.
        """
        found: dict[tuple[str, str], list[tuple[int, Path]]] = {}
        owners: dict[Path, list[tuple[str, int]]] = {}
        for name, place in self._places.items():
            for end, part in enumerate(place.inside):
                last = end == len(place.inside) - 1
                word, number = _NUMBERED.fullmatch(part).groups()  # type: ignore[union-attr]
                classes = {snake_case(self._layers[name].kind or "")} if last else _MADE_INSIDE
                if end <= place.own or word not in classes:
                    continue
                above = tuple(node.name for node in place.nodes)
                path = (*above, *place.inside[: end + 1])
                if path not in owners:
                    found.setdefault((word, "/".join(above)), []).append((int(number or 0), path))
                owners.setdefault(path, []).append((name, end))
        counts: Counter[str] = Counter()
        names: dict[tuple[str, int], str] = {}
        for (word, _), paths in found.items():
            for _, path in sorted(paths):
                names |= dict.fromkeys(owners[path], f"{word}_{counts[word]}" if counts[word] else word)
                counts[word] += 1
        return names

    def _roots(self, variable: Variable, own: Path, *, trained: bool) -> Path:
        """Below what Keras keeps the weight; both where nothing tells whether it is trained."""
        place = self._places[variable.layer]
        if trained:
            return (TRAINED,)
        if any(not node.trainable for node in place.nodes) or own[-1] in NEVER_TRAINED:
            return (UNTRAINED,)
        if variable.trainable is not None:
            return (TRAINED,) if variable.trainable else (UNTRAINED,)
        return (TRAINED, UNTRAINED) if place.inside and place.inside[-1] not in PROJECTIONS.values() else (TRAINED,)


def _stored_paths(spec: CheckpointSpec) -> dict[str, Path]:
    """Native key -> path that the variable had when it was saved, which legacy files of Keras 3 have."""
    if spec.layout is None or spec.layout.kind != "legacy":
        return {}
    return {place.key: tuple(place.word.split("/")) for place in spec.layout.places if place.group != OPTIMIZER}


def _is_group(alias: str) -> bool:
    return alias.partition("/")[0] in ("layers", "_layer_checkpoint_dependencies")


def _is_graph(node: Node) -> bool:
    """Whether a model is one of functions, whose layers are built before it is called."""
    return "input_layers" in node.config
