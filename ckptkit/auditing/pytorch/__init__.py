"""The audit of PyTorch's modules: called, saved, loaded into a fresh one, given one step of the optimizer."""

from __future__ import annotations

from ckptkit.auditing.pytorch.audit import audit_module
from ckptkit.auditing.pytorch.checkpoint import compare
from ckptkit.auditing.pytorch.measure import is_torch
from ckptkit.auditing.pytorch.watch import Sites, noting

__all__ = ["Sites", "audit_module", "compare", "is_torch", "noting"]
