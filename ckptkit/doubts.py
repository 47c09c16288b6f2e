"""What in a tensor's statistics would make a person look twice.

Pure: statistics in, words out. Used by `inspect --stats` and by `drift`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptkit.compare import TensorStatistics
    from ckptkit.model import Variable

# A uniform distribution over [-limit, limit] has a deviation of limit / sqrt(3). Sampled deviations of n values stray
# from it by about 0.45 / sqrt(n) of it, the largest magnitude falls short of the limit by about 1 / n of it; below this
# many elements neither tells anything.
_FEWEST_ELEMENTS = 64
_UNIFORM_DEVIATION = 1 / math.sqrt(3)

# Keras's initial value for each role that starts constant, `keras/src/layers/normalization` and `Layer.add_weight`.
_CONSTANT_START = {"bias": 0.0, "beta": 0.0, "moving_mean": 0.0, "gamma": 1.0, "moving_variance": 1.0}


def doubts(variable: Variable, statistics: TensorStatistics) -> tuple[str, ...]:
    """What looks wrong with a variable, the gravest first; empty when nothing does."""
    found = []
    if statistics.nan:
        found.append(f"{statistics.nan:,} NaN")
    if statistics.inf:
        found.append(f"{statistics.inf:,} Inf")
    start = initial_value(variable, statistics)
    if start is not None:
        found.append(f"at its initial value ({start})?")
    elif statistics.all_equal and variable.size > 1:
        found.append("all zero" if statistics.minimum == 0 else "constant")
    return tuple(found)


def initial_value(variable: Variable, statistics: TensorStatistics) -> str | None:
    """The initialiser whose values a weight still seems to hold, or None.

    A constant start (`zeros`, `ones`) is certain as far as it goes; for kernels the bounds and the deviation of Glorot's and
    He's uniform initialisers are compared, which a trained kernel leaves soon. Source of the bounds:
    `keras/src/initializers/random_initializers.py` (VarianceScaling): limit = sqrt(3 * scale / n), n being the mean of
    fan-in and fan-out (Glorot, scale 1) or fan-in (He, scale 2; LeCun, scale 1).
    """
    if variable.kind != "weight" or statistics.nan or statistics.inf or statistics.minimum is None:
        return None
    if statistics.all_equal and variable.size > 1:
        start = _CONSTANT_START.get(variable.role or "")
        if start is not None and statistics.minimum == start:
            return "zeros" if start == 0 else "ones"
        return None
    if len(variable.shape) < 2 or variable.size < _FEWEST_ELEMENTS or statistics.std is None:
        return None
    return _uniform_start(variable, statistics)


def _uniform_start(variable: Variable, statistics: TensorStatistics) -> str | None:
    field = math.prod(variable.shape[:-2])
    fan_in, fan_out = variable.shape[-2] * field, variable.shape[-1] * field
    starts = {"glorot_uniform": (fan_in + fan_out) / 2, "he_uniform": fan_in / 2, "lecun_uniform": float(fan_in)}
    largest = max(abs(statistics.minimum or 0.0), abs(statistics.maximum or 0.0))
    spread = 4 * 0.45 / math.sqrt(variable.size)  # four standard errors
    for name, n in starts.items():
        limit = math.sqrt(3 / n) if n else 0.0
        if (
            limit * (1 - 20 / variable.size) <= largest <= limit * (1 + 1e-6)
            and statistics.std is not None
            and abs(statistics.std / (limit * _UNIFORM_DEVIATION) - 1) <= spread
        ):
            return name
    return None
