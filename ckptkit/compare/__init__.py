"""Streaming numeric comparison, description and fingerprinting of tensors, in bounded memory."""

from ckptkit.compare.description import Examination, examine
from ckptkit.compare.fingerprint import fingerprint
from ckptkit.compare.ranges import (
    Printed,
    Range,
    RangeComparison,
    RangeExamination,
    compare_range,
    cut,
    examine_range,
    fingerprint_range,
    join_compared,
    join_examined,
    join_printed,
)
from ckptkit.compare.small import SMALL_ELEMENTS
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.streaming import (
    Comparison,
    Status,
    Tensor,
    compare_arrays,
    compare_many,
    compare_streams,
    compare_tensors,
)
from ckptkit.compare.tally import TensorStatistics
from ckptkit.compare.tolerance import Tolerance
from ckptkit.compare.transform import BLOCK_COUNTS, Transform, establish
from ckptkit.compare.workspace import Workspace

__all__ = [
    "BLOCK_COUNTS",
    "SMALL_ELEMENTS",
    "Comparison",
    "Examination",
    "Printed",
    "Range",
    "RangeComparison",
    "RangeExamination",
    "Statistics",
    "Status",
    "Tensor",
    "TensorStatistics",
    "Tolerance",
    "Transform",
    "Workspace",
    "compare_arrays",
    "compare_many",
    "compare_range",
    "compare_streams",
    "compare_tensors",
    "cut",
    "establish",
    "examine",
    "examine_range",
    "fingerprint",
    "fingerprint_range",
    "join_compared",
    "join_examined",
    "join_printed",
]
