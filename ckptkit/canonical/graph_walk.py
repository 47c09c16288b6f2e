"""One walk over an object graph: the path by which each object is best called, and the order of the objects.

Objects are reached by many paths, in cycles, and in made-up files by 2**30 of them. Each is visited once: breadth
first, so that its path is a shortest one, and by the ways of the model before those of the bookkeeping around it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptkit.canonical.naming import clipped
from ckptkit.model import GraphNode

# Attributes that list what another attribute holds already, and what is beside the model: reached last, so that a
# variable is called `model/dense/kernel` and not `model/optimizer/_trainable_variables/3`.
_BOOKKEEPING = frozenset(
    {
        "_all_variables",
        "_optimizer",
        "_self_tracked_trackables",
        "_trainable_variables",
        "_non_trainable_variables",
        "_variables",
        "keras_api",
        "metrics",
        "_metrics",
        "non_trainable_variables",
        "optimizer",
        "regularization_losses",
        "signatures",
        "trainable_variables",
        "variables",
    }
)  # fmt: skip

# Under which a wrapper of Keras holds what it wraps.
_WRAPPED = "layer"

# A path of more parts is not for people, and building many of them from a made-up chain would take quadratic time.
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Walk:
    """What the walk found.

    Attributes:
        parents: node -> the node from which it was reached; -1 for the root and for what is not reached.
        edges: node -> name of the attribute by which it was reached.
        order: the nodes reached, each before its children, children in stored order.
    """

    nodes: Sequence[GraphNode]
    parents: Sequence[int]
    edges: Sequence[str]
    order: Sequence[int]

    def chain(self, node: int) -> list[int] | None:
        """The nodes from the one below the root down to `node`; None where that is too deep for a name."""
        chain: list[int] = []
        while node > 0:
            if len(chain) == _DEEPEST:
                return None
            chain.append(node)
            node = self.parents[node]
        return chain[::-1] if node == 0 else None

    def path(self, chain: Sequence[int]) -> tuple[str, ...]:
        """Names of the attributes along `chain`."""
        return tuple(self.edges[node] for node in chain)


def walk(nodes: Sequence[GraphNode]) -> Walk:
    """Visit every object that can be reached from node 0, once."""
    parents = [-1] * len(nodes)
    edges = [""] * len(nodes)
    children: list[list[int]] = [[] for _ in nodes]
    seen = bytearray(len(nodes))
    queues: tuple[deque[tuple[int, int, str]], ...] = (deque([(-1, 0, "")] if nodes else ()), deque())
    while queues[0] or queues[1]:
        parent, node, name = (queues[0] or queues[1]).popleft()
        if seen[node]:
            continue
        seen[node] = 1
        parents[node] = parent
        edges[node] = clipped(name)
        if parent >= 0:
            children[parent].append(node)
        for child_name, child in nodes[node].children:
            if 0 <= child < len(nodes) and not seen[child]:
                queues[child_name in _BOOKKEEPING].append((node, child, child_name))
    _give_to_wrapped(nodes, parents, edges, children)
    return Walk(nodes, parents, edges, tuple(_preorder(nodes, children)))


def _give_to_wrapped(
    nodes: Sequence[GraphNode], parents: list[int], edges: list[str], children: list[list[int]]
) -> None:
    """Let what a wrapper and the layer in it both hold be the layer's: the kernel of Keras 3's `SpectralNormalization`."""
    for inner, edge in enumerate(edges):
        outer = parents[inner]
        if edge != _WRAPPED or outer <= 0:
            continue
        for name, shared in nodes[inner].children:
            if 0 <= shared < len(nodes) and parents[shared] == outer and not nodes[shared].children:
                children[outer].remove(shared)
                children[inner].append(shared)
                parents[shared] = inner
                edges[shared] = clipped(name)


def _preorder(nodes: Sequence[GraphNode], children: list[list[int]]) -> Iterator[int]:
    """Down the tree of the walk, siblings in the order in which their parent lists them."""
    stack = [0] if nodes else []
    while stack:
        node = stack.pop()
        yield node
        if children[node]:
            places: dict[int, int] = {}
            for place, (_, child) in enumerate(nodes[node].children):
                places.setdefault(child, place)
            stack += sorted(children[node], key=lambda child: -places[child])
