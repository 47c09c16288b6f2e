"""What differs between two checkpoints, given which variable belongs to which."""

from ckptkit.diff.checkpoints import diff_checkpoints
from ckptkit.diff.contents import Contents, search_contents
from ckptkit.diff.pairs import Converted
from ckptkit.diff.result import AmbiguousGroup, Diff, LayerChange, PairDiff, Swap, Totals, Verdict

__all__ = [
    "AmbiguousGroup",
    "Contents",
    "Converted",
    "Diff",
    "LayerChange",
    "PairDiff",
    "Swap",
    "Totals",
    "Verdict",
    "diff_checkpoints",
    "search_contents",
]
