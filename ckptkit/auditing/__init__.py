"""Find the weights that a live model loses: never tracked, never saved, never trained.

Nothing is looked up: the model is run, saved with each saver of its framework, loaded into a fresh model, read with
ckptkit's own readers and given a gradient step; the findings are what that showed.
"""

from __future__ import annotations

from ckptkit.auditing.findings import Audit, Facts, Finding

__all__ = ["Audit", "Facts", "Finding"]
