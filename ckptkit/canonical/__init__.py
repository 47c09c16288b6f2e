"""Native names and the evidence in a file -> layers, roles, kinds and an order: the canonical map.

Pure: no data is read. Everything is linear or n log n in what the file holds, and nothing recurses.
"""

from __future__ import annotations

from ckptkit.canonical.assemble import assemble
from ckptkit.canonical.draft import Draft
from ckptkit.canonical.keras_legacy import draft_legacy
from ckptkit.canonical.keras_v3 import draft_v3
from ckptkit.canonical.object_graph import draft_graph
from ckptkit.canonical.scopes import draft_scopes
from ckptkit.model import CheckpointSpec, Contents, KerasV3, LegacyKeras, ObjectGraph


def build(contents: Contents, path: str) -> CheckpointSpec:
    """The canonical map of what a format module found.

    Args:
        contents: tensors and evidence; the evidence may lie, contradict itself or be missing.
        path: as the user named the checkpoint.

    Returns:
        A map in which every tensor of `contents` is exactly once, under a unique name.
    """
    return assemble(contents, path, _draft(contents))


def _draft(contents: Contents) -> Draft:
    structure = contents.structure
    if isinstance(structure, LegacyKeras):
        return draft_legacy(contents, structure)
    if isinstance(structure, KerasV3):
        return draft_v3(contents, structure)
    if isinstance(structure, ObjectGraph):
        return draft_graph(contents, structure)
    return draft_scopes(contents)


__all__ = ["build"]
