"""What tests say of arrays."""

from __future__ import annotations

import numpy as np

from ckptkit.dtypes import BY_NAME


def canonical_name(dtype: np.dtype) -> str:
    """The canonical name of a NumPy or `ml_dtypes` dtype."""
    name = "string" if dtype.kind in "OSU" else dtype.name
    assert name in BY_NAME
    return name
