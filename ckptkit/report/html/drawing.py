"""Path data of the small pictures: numbers to text, nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Units of the small pictures; a histogram is as wide as it has bins.
WIDTH = 100
HEIGHT = 30

# Units of a row in the picture of what went where.
ROW = 28

# Decades that a logarithmic scale of changes spans; what is below is drawn at its lower end.
_DECADES = 4


def steps(counts: Sequence[int]) -> str:
    """The outline of a histogram as a closed path, a unit wide for each bin, as high as its own largest one.

    Heights are square roots of the counts, so that the tails of a distribution can be seen beside its peak.
    """
    most = max(counts, default=0)
    if not most:
        return ""
    parts = [f"M0 {HEIGHT}"]
    at = wide = 0
    for height in (*(_height(count, most) for count in counts), 0):
        if height != at:
            parts.append(f"h{wide}" * bool(wide) + f"v{at - height}")
            at, wide = height, 0
        wide += 1
    return "".join(parts)


def _height(count: int, most: int) -> int:
    """At least 1 unit for what is not empty."""
    return max(1, round(math.sqrt(count / most) * (HEIGHT - 1))) if count else 0


def line(values: Sequence[float | None], scale: float) -> tuple[str, str]:
    """A run of changes on a logarithmic scale below `scale`: (path of the line, path of dots where nothing changed)."""
    drawn: list[str] = []
    still: list[str] = []
    gap = WIDTH / max(1, len(values))
    pen_down = False
    for number, value in enumerate(values):
        x = _short(round((number + 0.5) * gap, 1))
        if value is None:
            pen_down = False
            continue
        y = _short(round(HEIGHT - 2 - (HEIGHT - 4) * logarithmic(value, scale), 1))
        drawn.append(f"{'L' if pen_down else 'M'}{x} {y}" + ("" if pen_down else "h.1"))
        pen_down = True
        if value == 0:
            still.append(f"M{x} {y}h.1")
    return "".join(drawn), "".join(still)


def logarithmic(value: float, scale: float) -> float:
    """Share of the height at which `value` is drawn: 1.0 from `scale` on, 0.0 for nothing at all."""
    if value == 0 or not scale:
        return 0.0
    if not math.isfinite(value) or value >= scale:
        return 1.0
    return max(0.08, 1 + math.log10(value / scale) / _DECADES)


def link(left: int, right: int, width: int = WIDTH) -> str:
    """A curve from the middle of row `left` on one side to the middle of row `right` on the other."""
    start, end, bend = left * ROW + ROW // 2, right * ROW + ROW // 2, width // 2
    if start == end:
        return f"M0 {start}H{width}"
    return f"M0 {start}C{bend} {start} {bend} {end} {width} {end}"


def _short(value: float) -> str:
    return f"{value:g}"
