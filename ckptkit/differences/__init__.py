"""What differs between two checkpoints, given which variable belongs to which."""

from ckptkit.differences.arranged import Arranged
from ckptkit.differences.checkpoints import diff_checkpoints
from ckptkit.differences.contents import FoundContents, search_contents
from ckptkit.differences.orders import Rearranged, find_rearrangement
from ckptkit.differences.pairs import Counterpart
from ckptkit.differences.reading import check_readable, sketch
from ckptkit.differences.result import AmbiguousGroup, Diff, LayerChange, PairDiff, Swap, Totals, Verdict

__all__ = [
    "AmbiguousGroup",
    "Arranged",
    "Counterpart",
    "Diff",
    "FoundContents",
    "LayerChange",
    "PairDiff",
    "Rearranged",
    "Swap",
    "Totals",
    "Verdict",
    "check_readable",
    "diff_checkpoints",
    "find_rearrangement",
    "search_contents",
    "sketch",
]
