"""One call of a layer: what it was given, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """The first call of a layer or module.

    Attributes:
        layer: the object.
        name: its name or path.
        kind: its class.
        inputs: first tensor it was given; None when it was given none.
        output: first tensor it gave back.
    """

    layer: Any
    name: str
    kind: str
    inputs: Any
    output: Any
