"""From a match to a plan."""

from __future__ import annotations

from ckptkit.planner.make import make_plan

__all__ = ["make_plan"]
