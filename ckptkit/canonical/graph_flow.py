"""What feeds what in a TensorFlow 1 graph: from each node that uses a weight back to the weights behind its other inputs.

A node that takes a weight and data belongs to the weight's layer; everything else passes on what reaches it. Loops are walked
until nothing new comes back from their ends; where a branch was taken, or how large a tensor is, tells nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ckptkit.model import Flow, GraphOp

Reach = tuple[str, ...]

# Most names that are passed on from node to node, all nodes counted: beyond that nothing is said.
_MOST_STEPS = 2_000_000

# Loops in loops beyond this are walked as far as that.
_MOST_PASSES = 6

# Where data comes from (tensorflow/core/ops/array_ops.cc, dataset_ops.cc, data_flow_ops.cc).
_SOURCES = ("Placeholder", "IteratorGetNext", "QueueDequeue", "FIFOQueue", "ReaderRead")

# What holds a weight, and what says nothing of the values that go in.
_VARIABLES = frozenset({"VariableV2", "Variable", "VarHandleOp", "AutoReloadVariable"})
_SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})

# Of a weight alone, these are its size: what a loss adds to keep weights small.
_NORMS = frozenset({"L2Loss", "Sum", "Mean", "Max", "EuclideanNorm"})
_WRITES = ("Assign", "Apply", "ResourceApply", "Scatter", "ResourceScatter", "SparseApply", "ResourceSparseApply")

# Nodes of which only the first input carries a value, and what closes a loop (core/ops/control_flow_ops.cc).
_SWITCHES = frozenset({"Switch", "RefSwitch"})
_BACK = frozenset({"NextIteration", "RefNextIteration"})

# Functions, whose insides are elsewhere in the file.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case")


def read_flow(read_nodes: Callable[[], Sequence[GraphOp]], layers: Mapping[str, str]) -> Flow | None:
    """What reaches each layer, as `Layer.feeds` has it; None where the graph is empty or too large.

    Of layers that a function uses together nothing is said but what they feed.

    Args:
        read_nodes: gives the nodes of the graph.
        layers: name of each variable -> its layer.
    """
    nodes = read_nodes()
    if not nodes:
        return None
    walk = _Walk(nodes, layers)
    for _ in range(_MOST_PASSES):
        before = walk.fed_back()
        if not walk.run():
            return None
        if walk.fed_back() == before:
            break
    return Flow({layer: tuple(found) for layer, found in walk.feeds.items() if layer not in walk.hidden})


class _Walk:
    """Goes through the nodes, again and again until nothing new comes back from the ends of loops."""

    def __init__(self, nodes: Sequence[GraphOp], layers: Mapping[str, str]) -> None:
        by_name = {node.name: place for place, node in enumerate(nodes)}
        self._nodes = nodes
        self._layers = layers
        self._inputs = [[by_name[name] for name in _values(node) if name in by_name] for node in nodes]
        self._order = list(_in_order(nodes, self._inputs))
        self._loops = [place for place, node in enumerate(nodes) if node.type in _BACK]
        self._reach: list[Reach] = [()] * len(nodes)
        self._weights: list[Reach] = [()] * len(nodes)
        self._sources: dict[int, str] = {}
        self._steps = 0
        self.feeds: dict[str, dict[str, None]] = {}
        self.hidden: set[str] = set()

    def fed_back(self) -> list[Reach]:
        """What reaches the end of each loop."""
        return [self._reach[place] for place in self._loops]

    def run(self) -> bool:
        """One pass; whether it came to its end within the limit."""
        self.feeds.clear()
        self.hidden.clear()
        for place in self._order:
            node = self._nodes[place]
            data = _union(self._reach[other] for other in self._inputs[place])
            owners = _union(self._weights[other] for other in self._inputs[place])
            self._steps += 1 + len(data) + len(owners)
            if self._steps > _MOST_STEPS:
                return False
            self._weights[place] = ()
            if node.type in _VARIABLES:
                layer = self._layers.get(_whole(node.name))
                self._weights[place] = (layer,) if layer is not None else ()
            elif node.type.startswith(_SOURCES) and not data:
                self._reach[place] = (self._sources.setdefault(place, f"input:{len(self._sources)}"),)
            elif node.type in _SIZES or node.type.startswith(_WRITES):
                continue
            elif not data:
                self._weights[place] = () if node.type in _NORMS else owners
            else:
                self._reach[place] = owners or data
                self._note(node, owners, data)
        return True

    def _note(self, node: GraphOp, owners: Reach, data: Reach) -> None:
        if node.type in _CALLS and len(owners) > 1:
            self.hidden.update(owners)
        for layer in owners:
            self.feeds.setdefault(layer, {}).update(dict.fromkeys(name for name in data if name != layer))


def _values(node: GraphOp) -> tuple[str, ...]:
    return node.inputs[:1] if node.type in _SWITCHES else node.inputs


def _whole(name: str) -> str:
    """The variable that a partition belongs to."""
    head, _, last = name.rpartition("/")
    return head if head and last.startswith("part_") and last[5:].isdigit() else name


def _in_order(nodes: Sequence[GraphOp], inputs: Sequence[Sequence[int]]) -> Iterator[int]:
    """The nodes, each after what it takes from but the ends of loops."""
    waiting: list[list[int]] = [[] for _ in nodes]
    missing = [0] * len(nodes)
    for place, found in enumerate(inputs):
        for other in found:
            if nodes[other].type not in _BACK:
                missing[place] += 1
                waiting[other].append(place)
    ready = deque(place for place, count in enumerate(missing) if not count)
    while ready:
        place = ready.popleft()
        yield place
        for other in waiting[place]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)


def _union(reaches: Iterable[Reach]) -> Reach:
    found = [reach for reach in reaches if reach]
    return found[0] if len(found) == 1 else tuple(dict.fromkeys(name for reach in found for name in reach))
