"""What a diff has no pair for: on one side only, or ambiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.report import words
from ckptkit.report.html.cells import Text, Tone
from ckptkit.report.html.document import MOST_ROWS, NARROW, Prose, Section, listed, more

if TYPE_CHECKING:
    from ckptkit.differences import Diff
    from ckptkit.matching.result import Unmatched


def unpaired(diff: Diff) -> list[Section]:
    """A section for each side and one for what is ambiguous; without blocks where there is nothing."""
    sections = []
    for side, other, found in (("a", "b", diff.only_a), ("b", "a", diff.only_b)):

        def row(each: Unmatched) -> tuple[Text, Text, Text]:
            return (
                Text(each.name, name=True),
                Text("slot or state" if each.name in diff.others else "weight"),
                Text("; ".join(f"{near.name}: {near.why}" for near in each.nearest[:1])),
            )

        ordered = sorted(found, key=lambda each: each.name in diff.others)
        columns = ("variable", "kind", f"nearest in {other}")
        sections.append(listed(f"only-{side}", f"Only in {side}", columns, ordered, row, "variable", NARROW))
    groups: tuple[tuple[Tone, str], ...] = tuple(
        (
            "good" if group.equal else "warn",
            f"{words.listing(group.source, 8)} ↔ {words.listing(group.target, 8)}: {group.why}"
            + ("; all equal, so it makes no difference" if group.equal else ""),
        )
        for group in diff.ambiguous[:MOST_ROWS]
    )
    left = more(len(diff.ambiguous) - len(groups), "group", NARROW)
    if left:
        groups = (*groups, ("calm", left))
    sections.append(
        Section(
            "ambiguous",
            "Ambiguous",
            (Prose(groups),) if groups else (),
            "Not paired, because they fit in several ways.",
        )
    )
    return sections
