"""Equal contents that do not stand layer by layer: a kernel of one layer beside the bias of another is no such layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from ckptkit.matching.result import Ambiguous, Match, Pair
from ckptkit.model import CheckpointSpec

_WHY = "equal contents, but not layer by layer: each of these layers holds variables of several"

_Node = tuple[int, str]


def keep_layers_together(match: Match, a: CheckpointSpec, b: CheckpointSpec) -> Match:
    """`match` by content without the pairs that tear layers apart which could be paired whole; those are ambiguous.

    Contents alone would call two files equal of which one has the biases of two layers exchanged, wherever the names of
    the layers say nothing.

    Args:
        match: by content, between (parts of) `a` and `b`.
        a: the source.
        b: the target.
    """
    sides = [{variable.name: variable.layer for variable in spec.variables} for spec in (a, b)]
    pairs: dict[_Node, list[Pair]] = defaultdict(list)
    links = []
    for pair in match.pairs:
        if len(pair.source) == len(pair.target) == 1:
            ends = (0, sides[0][pair.source[0]]), (1, sides[1][pair.target[0]])
            if all(layer for _, layer in ends):
                links.append(ends)
                pairs[ends[0]].append(pair)
    signatures = _signatures(0, a) | _signatures(1, b)
    torn: list[Pair] = []
    groups: list[Ambiguous] = []
    for group in _components(links):
        layers = [[node for node in group if node[0] == side] for side in (0, 1)]
        if len(layers[0]) < 2 or len(layers[1]) < 2:
            continue
        wholes = [Counter(signatures[node] for node in side) for side in layers]
        if wholes[0] == wholes[1]:
            mine = [pair for node in layers[0] for pair in pairs[node]]
            torn += mine
            groups.append(Ambiguous(tuple(p.source[0] for p in mine), tuple(p.target[0] for p in mine), _WHY))
    apart = set(torn)
    return replace(
        match,
        pairs=tuple(pair for pair in match.pairs if pair not in apart) if apart else match.pairs,
        ambiguous=(*match.ambiguous, *groups),
    )


def _signatures(side: int, spec: CheckpointSpec) -> dict[_Node, tuple[tuple[tuple[int, ...], str], ...]]:
    """Node of each layer -> shapes and dtypes of what it has, sorted."""
    found: dict[_Node, list[tuple[tuple[int, ...], str]]] = defaultdict(list)
    for variable in spec.variables:
        found[side, variable.layer].append((variable.shape, variable.dtype))
    return {node: tuple(sorted(each)) for node, each in found.items()}


def _components(links: Iterable[tuple[_Node, _Node]]) -> list[list[_Node]]:
    """The sets of nodes that are linked with each other."""
    beside: dict[_Node, set[_Node]] = defaultdict(set)
    for one, other in links:
        beside[one].add(other)
        beside[other].add(one)
    seen: set[_Node] = set()
    components = []
    for start in beside:
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            node = waiting.pop()
            group.append(node)
            fresh = beside[node] - seen
            seen |= fresh
            waiting += sorted(fresh)
        components.append(group)
    return components
