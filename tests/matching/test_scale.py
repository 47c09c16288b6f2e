from __future__ import annotations

import time
import tracemalloc

import pytest

from ckptkit.matching import match
from tests.matching.specs import dense, spec


def model(layers: int, name: str, *, without: int = -1):
    return spec(*[dense(name.format(i), 7 + i % 4, 8 + i % 4) for i in range(layers) if i != without])


def seconds(layers: int, by: str, kind: str) -> float:
    """Of the processor's time, which other tests on the machine do not lengthen much."""
    a = model(layers, "block_{0}/dense_{0}", without=layers // 2 if kind == "gap" else -1)
    b = model(layers, "block_{0}/dense_{0}" if kind == "equal" else "net/own{0}")
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        found = match(a, b, by=by)
        best = min(best, time.process_time() - start)
        assert len(found.pairs) == 2 * (layers - (kind == "gap"))
    return best


@pytest.mark.parametrize("kind", ["equal", "renamed", "gap"])
@pytest.mark.parametrize("by", ["auto", "order"])
def test_ten_thousand_variables_take_no_more_than_thirteen_times_as_long_as_a_thousand(by: str, kind: str) -> None:
    assert seconds(5_000, by, kind) < 13 * seconds(500, by, kind) + 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("by", "kind"), [("auto", "renamed"), ("auto", "gap"), ("order", "equal")])
def test_a_hundred_thousand_grow_no_faster_than_thirteen_times(by: str, kind: str) -> None:
    small, large = seconds(5_000, by, kind), seconds(50_000, by, kind)
    assert large < 13 * small + 0.5


def test_equal_layers_with_one_more_do_not_take_quadratic_memory() -> None:
    a = spec(*[dense(f"a{i}", 4, 4) for i in range(3_000)])
    b = spec(*[dense(f"b{i}", 4, 4) for i in range(3_001)])
    tracemalloc.start()
    found = match(a, b, by="order")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.pairs
    assert len(found.ambiguous) == 1
    assert peak < 100e6
