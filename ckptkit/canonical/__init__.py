"""Native names and the evidence in a file -> layers, roles, kinds and an order: the canonical map.

Pure: no data is read. Everything is linear or n log n in what the file holds, and nothing recurses.
"""

from __future__ import annotations

from dataclasses import replace

from ckptkit.canonical.assemble import assemble
from ckptkit.canonical.assets import find_tables, read_assets
from ckptkit.canonical.draft import Aside, MapDraft
from ckptkit.canonical.keras_legacy import draft_legacy
from ckptkit.canonical.keras_tree import draft_keras_tree, is_keras, with_flags
from ckptkit.canonical.keras_v3 import draft_v3
from ckptkit.canonical.naming import without_attribute
from ckptkit.canonical.object_graph import draft_graph
from ckptkit.canonical.pickled import draft_pickled
from ckptkit.canonical.scopes import draft_scopes
from ckptkit.canonical.trees import draft_tree
from ckptkit.model import CheckpointSpec, Contents, KerasV3, LegacyKeras, ObjectGraph, PickledState, Tree


def build(contents: Contents, path: str) -> CheckpointSpec:
    """The canonical map of what a format module found.

    Args:
        contents: tensors and evidence; the evidence may lie, contradict itself or be missing.
        path: as the user named the checkpoint.

    Returns:
        A map in which every tensor of `contents` is exactly once, under a unique name.
    """
    if isinstance(contents.structure, Tree) and is_keras(contents.structure):
        contents = replace(contents, tensors=with_flags(contents.tensors, contents.structure))
    tables = tuple(find_tables(contents))
    inside = {key for table in tables for key in table.keys}
    rest = tuple([each for each in contents.tensors if each.key not in inside]) if inside else contents.tensors
    draft = _draft(replace(contents, tensors=rest))
    asides = tuple(Aside(key, without_attribute(key), "state") for table in tables for key in table.keys)
    spec = assemble(contents, path, replace(draft, asides=(*draft.asides, *asides)))
    return replace(spec, assets=read_assets(contents, tables, spec.layers))


class Maps:
    """Makes maps one after the other, and none anew where a file tells what the one before it told.

    Checkpoints of one run do, as a rule: they have the same tensors and the same evidence, and other values.
    """

    def __init__(self) -> None:
        self._last: tuple[Contents, CheckpointSpec] | None = None

    def build(self, contents: Contents, path: str) -> CheckpointSpec:
        """As `canonical.build`."""
        if self._last is not None and _tell_the_same(contents, self._last[0]):
            return replace(self._last[1], path=path)
        spec = build(contents, path)
        self._last = contents, spec
        return spec


def _tell_the_same(one: Contents, other: Contents) -> bool:
    """Whether one map is made of both. Graphs are not compared, nor do `1` and `True` of a configuration count as equal."""
    try:
        return (
            one.meta_graph is None
            and one == other
            and (one.structure is None or repr(one.structure) == repr(other.structure))
        )
    except RecursionError:  # a configuration that is nested as deep as can just be read
        return False


def _draft(contents: Contents) -> MapDraft:
    structure = contents.structure
    if isinstance(structure, LegacyKeras):
        return draft_legacy(contents, structure)
    if isinstance(structure, KerasV3):
        return draft_v3(contents, structure)
    if isinstance(structure, ObjectGraph):
        return draft_graph(contents, structure)
    if isinstance(structure, PickledState):
        return draft_pickled(contents, structure)
    if isinstance(structure, Tree):
        return draft_keras_tree(contents, structure) if is_keras(structure) else draft_tree(contents, structure)
    return draft_scopes(contents)


__all__ = ["Maps", "build"]
