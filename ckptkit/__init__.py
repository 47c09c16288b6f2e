"""Read, compare, move and prove the weights in Keras, TensorFlow, Sonnet, PyTorch and JAX checkpoints.

Public names are resolved on first use, so that importing the package costs nothing: no numpy, h5py or TensorFlow is
loaded before a call needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckptkit.api.audit import audit as audit
    from ckptkit.api.compare_models import compare_models as compare_models
    from ckptkit.api.convert import convert as convert
    from ckptkit.api.diff import diff as diff
    from ckptkit.api.drift import drift as drift
    from ckptkit.api.inspect import inspect as inspect
    from ckptkit.api.load_into import load_into as load_into
    from ckptkit.api.match import match as match
    from ckptkit.api.open import open as open  # noqa: A004
    from ckptkit.api.plan import plan as plan
    from ckptkit.api.read_plan import read_plan as read_plan
    from ckptkit.api.remap import remap as remap
    from ckptkit.api.to_tree import to_tree as to_tree
    from ckptkit.api.verify import verify as verify
    from ckptkit.errors import CkptkitError as CkptkitError
    from ckptkit.model import Checkpoint as Checkpoint
    from ckptkit.model import Layer as Layer
    from ckptkit.model import Variable as Variable
    from ckptkit.report.progress import progress_bar as progress_bar

__version__ = "0.1.0"

# Public name -> module that defines it.
_PUBLIC = {
    "Checkpoint": "ckptkit.model",
    "CkptkitError": "ckptkit.errors",
    "Layer": "ckptkit.model",
    "Variable": "ckptkit.model",
    "audit": "ckptkit.api.audit",
    "compare_models": "ckptkit.api.compare_models",
    "convert": "ckptkit.api.convert",
    "diff": "ckptkit.api.diff",
    "drift": "ckptkit.api.drift",
    "inspect": "ckptkit.api.inspect",
    "load_into": "ckptkit.api.load_into",
    "match": "ckptkit.api.match",
    "open": "ckptkit.api.open",
    "plan": "ckptkit.api.plan",
    "progress_bar": "ckptkit.report.progress",
    "read_plan": "ckptkit.api.read_plan",
    "remap": "ckptkit.api.remap",
    "to_tree": "ckptkit.api.to_tree",
    "verify": "ckptkit.api.verify",
}

__all__ = [
    "Checkpoint",
    "CkptkitError",
    "Layer",
    "Variable",
    "__version__",
    "audit",
    "compare_models",
    "convert",
    "diff",
    "drift",
    "inspect",
    "load_into",
    "match",
    "open",
    "plan",
    "progress_bar",
    "read_plan",
    "remap",
    "to_tree",
    "verify",
]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'ckptkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
