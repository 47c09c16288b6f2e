"""Reading names that are not a file's keys: the scopes of names, with the keys put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ckptkit.canonical.draft import MapDraft
from ckptkit.canonical.scopes import draft_scopes
from ckptkit.model import Contents


def draft_by_names(contents: Contents, names: Mapping[str, str], family: str | None = None) -> MapDraft:
    """What `draft_scopes` makes of some tensors of a file, were they called otherwise.

    Args:
        contents: the file's.
        names: key -> unique name, of the tensors that are meant.
        family: as for `draft_scopes`.
    """
    keys = {name: key for key, name in names.items()}
    tensors = tuple(replace(each, key=names[each.key]) for each in contents.tensors if each.key in names)
    layout = contents.layout
    if layout is not None:
        places = tuple(replace(place, key=names[place.key]) for place in layout.places if place.key in names)
        layout = replace(layout, places=places)
    draft = draft_scopes(replace(contents, tensors=tensors, structure=None, layout=layout), family)
    return replace(
        draft,
        members=tuple(replace(member, key=keys[member.key]) for member in draft.members),
        asides=tuple(
            replace(
                aside,
                key=keys[aside.key],
                slot_of=keys[aside.slot_of] if aside.slot_of is not None else None,
            )
            for aside in draft.asides
        ),
    )
