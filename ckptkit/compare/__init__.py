"""Streaming numeric comparison, description and fingerprinting of tensors, in bounded memory."""

from ckptkit.compare.description import Examination, TensorStatistics, examine
from ckptkit.compare.fingerprint import fingerprint
from ckptkit.compare.statistics import Statistics
from ckptkit.compare.streaming import Comparison, Status, compare_arrays, compare_streams, compare_tensors
from ckptkit.compare.tolerance import Tolerance
from ckptkit.compare.transform import BLOCK_COUNTS, Transform, establish
from ckptkit.compare.workers import run_tasks
from ckptkit.compare.workspace import Workspace

__all__ = [
    "BLOCK_COUNTS",
    "Comparison",
    "Examination",
    "Statistics",
    "Status",
    "TensorStatistics",
    "Tolerance",
    "Transform",
    "Workspace",
    "compare_arrays",
    "compare_streams",
    "compare_tensors",
    "establish",
    "examine",
    "fingerprint",
    "run_tasks",
]
