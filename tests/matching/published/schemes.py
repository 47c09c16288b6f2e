"""All schemes, in the order of their modules."""

from __future__ import annotations

from tests.matching.published import agents, encoders, repeats, sequences, small, vision
from tests.matching.published.scheme import SCHEMES

__all__ = ["SCHEMES", "agents", "encoders", "repeats", "sequences", "small", "vision"]
