"""Sharing that may not be meant, and sharing that may be missing: information, never an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptkit.auditing.findings import Finding
from ckptkit.auditing.holders import find_layers
from ckptkit.auditing.links import is_proxy
from ckptkit.frameworks import framework_of, is_keras, leaves, weights

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_sharing(model: Any, framework: str) -> list[Finding]:
    """One layer several times in a chain, and equal layers on inputs of the same shape."""
    found = [_shared(name, times) for name, times in _repeated_items(model)]
    if is_keras(framework):
        graph = _Graph(model)
        found += [_shared(layer.name, times) for layer, times in graph.chained()]
        found += [_twins(left.name, right.name) for left, right in graph.twins()]
    return list({finding.subject: finding for finding in found}.values())


def _shared(name: str, times: int) -> Finding:
    return Finding(
        "shared",
        "info",
        None,
        f"{name} stands {times} times in one chain and has one set of weights.",
        "If each place was to have its own weights, make one layer for each "
        "([Dense(8) for _ in range(3)], not [Dense(8)] * 3).",
        subject=name,
    )


def _twins(left: str, right: str) -> Finding:
    return Finding(
        "twins",
        "info",
        None,
        f"{left} and {right} are equal layers on inputs of the same shape, each with weights of its own.",
        "If the inputs were to share weights (a Siamese model), call one layer on both.",
        subject=f"{left}, {right}",
    )


def _repeated_items(model: Any) -> Iterator[tuple[str, int]]:
    """Layers that stand more than once in one list or tuple that the user's class holds."""
    for owner, holder in find_layers(model):
        for name, value in list(getattr(owner, "__dict__", {}).items()):
            if name.startswith("_") or not isinstance(value, (list, tuple)):
                continue
            for first in {id(item): item for item in value if _has_weights(item)}.values():
                times = sum(item is first for item in value)
                if times > 1:
                    yield f"{holder.path}.{name}[{next(i for i, item in enumerate(value) if item is first)}]", times


def _has_weights(item: Any) -> bool:
    framework = None if is_proxy(item) else framework_of(item)
    return framework is not None and bool(weights(item, framework))


class _Graph:
    """The calls in a Functional or Sequential model: who feeds whom."""

    def __init__(self, model: Any) -> None:
        self._inputs = list(getattr(model, "inputs", None) or ()) if hasattr(model, "layers") else []
        self._calls: list[tuple[Any, list[int], list[int]]] = []
        if not self._inputs:
            return
        outputs = {id(tensor) for tensor in leaves(getattr(model, "outputs", ()))}
        calls = [
            (layer, [id(t) for t in leaves(node.input_tensors)], [id(t) for t in leaves(_node_outputs(node))])
            for layer in model.layers
            for node in getattr(layer, "_inbound_nodes", ())
        ]
        calls = [call for call in calls if call[1] != call[2]]  # tf_keras gives an InputLayer its output as input
        # Nodes of other models made from the same layers are left out: only what leads to this model's outputs counts.
        wanted, kept = set(outputs), []
        while True:
            new = [call for call in calls if call not in kept and wanted & set(call[2])]
            if not new:
                break
            kept += new
            wanted |= {tensor for call in new for tensor in call[1]}
        self._calls = kept

    def chained(self) -> Iterator[tuple[Any, int]]:
        """Layers with weights whose output leads, through other layers, to their own input again."""
        for layer in {id(call[0]): call[0] for call in self._calls}.values():
            own = [call for call in self._calls if call[0] is layer]
            if (
                len(own) > 1
                and layer.weights
                and any(set(call[1]) & self._below(other[2]) for call in own for other in own)
            ):
                yield layer, len(own)

    def twins(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of equal layers, the first with weights behind two model inputs of the same shape."""
        firsts = [(tuple(tensor.shape), self._first(id(tensor))) for tensor in self._inputs]
        for index, (shape, left) in enumerate(firsts):
            for other, right in firsts[index + 1 :]:
                if (
                    left is not None
                    and right is not None
                    and left is not right
                    and shape == other
                    and _alike(left, right)
                ):
                    yield left, right

    def _below(self, tensors: list[int]) -> set[int]:
        reached = set(tensors)
        while True:
            more = {tensor for call in self._calls if reached & set(call[1]) for tensor in call[2]} - reached
            if not more:
                return reached
            reached |= more

    def _first(self, tensor: int) -> Any:
        """The first layer with weights that only this tensor leads to."""
        while True:
            calls = [call for call in self._calls if tensor in call[1]]
            if len(calls) != 1 or len(calls[0][1]) != 1:
                return None
            layer, _, outputs = calls[0]
            if layer.weights:
                return layer
            tensor = outputs[0]


def _node_outputs(node: Any) -> Any:
    return node.output_tensors if hasattr(node, "output_tensors") else node.outputs


def _alike(left: Any, right: Any) -> bool:
    if type(left) is not type(right) or [w.shape for w in left.weights] != [w.shape for w in right.weights]:
        return False
    try:
        ours, theirs = dict(left.get_config()), dict(right.get_config())
    except NotImplementedError:  # a layer of the user's without a configuration
        return True
    for config in (ours, theirs):
        config.pop("name", None)
    return ours.keys() == theirs.keys()
