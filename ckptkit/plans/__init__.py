"""Plans: which value every target variable gets, as data that can be proven, inverted, written down and edited."""

from __future__ import annotations

from ckptkit.plans.document import NO_SLOT, Kept, Plan, Step, check_plan
from ckptkit.plans.inverse import inverse
from ckptkit.plans.ops import (
    AddToBlock,
    Cast,
    Concat,
    Fill,
    NegateBlock,
    Op,
    PermuteBlocks,
    Read,
    Reshape,
    Slice,
    Sum,
    Transpose,
    infer_spec,
    is_lossless,
    operands,
    reads,
    replace_reads,
)
from ckptkit.plans.text import SCHEMA, encode_op, encode_plan, parse_plan

__all__ = [
    "NO_SLOT",
    "SCHEMA",
    "AddToBlock",
    "Cast",
    "Concat",
    "Fill",
    "Kept",
    "NegateBlock",
    "Op",
    "PermuteBlocks",
    "Plan",
    "Read",
    "Reshape",
    "Slice",
    "Step",
    "Sum",
    "Transpose",
    "check_plan",
    "encode_op",
    "encode_plan",
    "infer_spec",
    "inverse",
    "is_lossless",
    "operands",
    "parse_plan",
    "reads",
    "replace_reads",
]
