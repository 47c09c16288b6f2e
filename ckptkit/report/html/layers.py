"""Layers as a tree: by the parts of their paths, with chains of single scopes joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.html.document import Node, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A report is for looking at; what is beyond this is counted.
MOST_LEAVES = 1500

# Scopes within scopes, beyond which the rest of a path stays in one piece. Names from files may have thousands.
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Leaf:
    """A layer: its path, how it is shown (the label is filled in), and what its scopes sum up.

    Attributes:
        share: what its bar stands for; the longest bars are kept where layers are too many.
        extent: what its figure stands for.
        apart: whether it differs.
    """

    path: str
    node: Node
    share: float
    extent: float = 0.0
    apart: bool = False


def grow(leaves: Sequence[Leaf], branch: Callable[[Sequence[Leaf]], Node]) -> tuple[Node, ...]:
    """The tree of `leaves`, in their order.

    Args:
        leaves: the layers.
        branch: what is shown of a scope, made of the leaves below it; its label and children are filled in.
    """
    return _grow([(tuple(leaf.path.split("/", _DEEPEST)), leaf) for leaf in leaves], branch)


def _grow(
    entries: Sequence[tuple[tuple[str, ...], Leaf]], branch: Callable[[Sequence[Leaf]], Node]
) -> tuple[Node, ...]:
    groups: dict[str, list[tuple[tuple[str, ...], Leaf]]] = {}
    for parts, leaf in entries:
        groups.setdefault(parts[0], []).append((parts[1:], leaf))
    nodes = []
    for head, members in groups.items():
        label = [head]
        if len(members) == 1:
            rest, leaf = members[0]
            nodes.append(replace(leaf.node, label="/".join((head, *rest))))
            continue
        common = _common([parts for parts, _ in members])
        label += common
        members = [(parts[len(common) :], leaf) for parts, leaf in members]  # noqa: PLW2901 - the same, further down
        own = [replace(leaf.node, label=f"{label[-1]} (itself)") for parts, leaf in members if not parts]
        below = _grow([(parts, leaf) for parts, leaf in members if parts], branch)
        nodes.append(replace(branch([leaf for _, leaf in members]), label="/".join(label), children=(*own, *below)))
    return tuple(nodes)


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What all of `paths` begin with."""
    first, last = min(paths), max(paths)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def tree(
    leaves: Sequence[Leaf],
    branch: Callable[[Sequence[Leaf]], Node],
    headings: tuple[str, str],
    advice: str,
) -> Tree:
    """A tree of at most `MOST_LEAVES` layers: those that stand out most, in their own order.

    Args:
        leaves: the layers.
        branch: as for `grow`.
        headings: of the bar and of the figure.
        advice: how to see the others.
    """
    shown = list(leaves)
    left = ""
    if len(leaves) > MOST_LEAVES:
        ranked = sorted(range(len(leaves)), key=lambda number: (-leaves[number].share, number))[:MOST_LEAVES]
        shown = [leaves[number] for number in sorted(ranked)]
        left = f"… and {words.count(len(leaves) - len(shown), 'layer')} with shorter bars; {advice}"
    return Tree(grow(shown, branch), headings, "layers", left)
