"""Trees of arrays as JAX's frameworks have them: names of their leaves, and models that are a function over one."""

from __future__ import annotations

from ckptkit.trees.leaves import Tree, flatten, to_numpy
from ckptkit.trees.models import FunctionalModel, as_functional

__all__ = ["FunctionalModel", "Tree", "as_functional", "flatten", "to_numpy"]
