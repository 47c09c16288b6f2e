"""Read, compare, move and prove the weights in Keras, TensorFlow and Sonnet checkpoints.

Public names are resolved on first use, so that importing the package costs nothing: no numpy, h5py or TensorFlow is
loaded before a call needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckptkit.api.comparing import diff as diff
    from ckptkit.api.converting import convert as convert
    from ckptkit.api.inspection import inspect as inspect
    from ckptkit.api.loading import load_into as load_into
    from ckptkit.api.moving import match as match
    from ckptkit.api.moving import plan as plan
    from ckptkit.api.moving import read_plan as read_plan
    from ckptkit.api.moving import remap as remap
    from ckptkit.api.opening import open as open  # noqa: A004
    from ckptkit.api.proving import compare_models as compare_models
    from ckptkit.api.proving import verify as verify
    from ckptkit.auditing import audit as audit
    from ckptkit.drifting import drift as drift
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
    "audit": "ckptkit.auditing",
    "compare_models": "ckptkit.api.proving",
    "convert": "ckptkit.api.converting",
    "diff": "ckptkit.api.comparing",
    "drift": "ckptkit.drifting",
    "inspect": "ckptkit.api.inspection",
    "load_into": "ckptkit.api.loading",
    "match": "ckptkit.api.moving",
    "open": "ckptkit.api.opening",
    "plan": "ckptkit.api.moving",
    "progress_bar": "ckptkit.report.progress",
    "read_plan": "ckptkit.api.moving",
    "remap": "ckptkit.api.moving",
    "verify": "ckptkit.api.proving",
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
