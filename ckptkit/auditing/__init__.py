"""Find the weights that a live model loses: never tracked, never saved, never trained.

Nothing is looked up: the model is run, saved with each saver of its framework, loaded into a fresh model, read with
ckptkit's own readers and given a gradient step; the findings are what that showed.
"""

from __future__ import annotations

from ckptkit.auditing.doctor import audit, audit_reference
from ckptkit.auditing.findings import Audit, Facts, Finding
from ckptkit.auditing.testing import assert_no_untracked_weights

__all__ = ["Audit", "Facts", "Finding", "assert_no_untracked_weights", "audit", "audit_reference"]
