"""The checkpoints of one training run: which variables move, and which never do.

Memory bounds neither the length of a run nor the size of its model.
"""

from ckptkit.drifting.result import Drift, VariableDrift

__all__ = ["Drift", "VariableDrift"]
