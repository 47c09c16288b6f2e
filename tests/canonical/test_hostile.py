"""Evidence made to hurt: time and memory stay in proportion to what is there."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from ckptkit.model import Contents
from tests.canonical.made import Graph, built, flat, kinds, layer, legacy, model, named, v3

COUNT = 3000


def _tower(class_name: str, depth: int) -> dict[str, Any]:
    inner = layer("Dense", "d")
    for place in range(depth):
        inside = {"layer": inner} if class_name == "Bidirectional" else {"layers": [inner]}
        inner = layer(class_name, f"w{place}", **inside)
    return inner


def test_wrappers_in_wrappers_do_not_double() -> None:
    start = time.process_time()
    built(v3({"layers/bidirectional/forward_layer/cell": [(3, 4)]}, config=model(_tower("Bidirectional", 200))))
    built(legacy({"w199": {"d/kernel:0": (3, 4)}}, config=model(_tower("Functional", 200))))
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    "config",
    [
        {}, {"config": None}, {"config": []}, {"config": {"layers": 3}}, {"config": {"layers": [None, 1, "x", {}]}},
        {"class_name": 3, "config": {"layers": [{"class_name": "Dense", "config": 7, "inbound_nodes": {}, "name": 4}]}},
        model(layer("Dense", "d", use_bias="no", reset_after=[[]]),
              layer("Bidirectional", "b", layer={"class_name": 3})),
    ],
)  # fmt: skip
def test_architectures_that_are_none(config: dict[str, Any]) -> None:
    for contents in (
        legacy({"d": {"d/kernel:0": (3, 4)}}, config=config),
        v3({"layers/dense": [(3, 4)]}, config=config),
    ):
        assert len(built(contents).layers) == 1


def _graph_of_long_names() -> Contents:
    graph = Graph()
    node = graph.add(0, "x" * 100_000)
    for place in range(COUNT):
        graph.variable(node, f"v{place}", f"k{place}", (2, 2))
    return graph.contents()


def _groups_of_long_names() -> Contents:
    groups = {"layers/a": [], **{f"layers/a/b{place}": [(2, 2)] for place in range(COUNT)}}
    return v3(groups, {"layers/a": "x" * 100_000})


def _architecture_of_long_names() -> Contents:
    inner = layer("Functional", "x" * 100_000, layers=[layer("Dense", f"d{place}") for place in range(COUNT)])
    groups = {f"layers/functional/layers/dense_{place}": [(2, 2)] for place in range(1, COUNT)}
    return v3(groups, config=model(inner))


@pytest.mark.parametrize("make", [_graph_of_long_names, _groups_of_long_names, _architecture_of_long_names])
def test_one_long_name_is_not_copied_into_all_others(make: Callable[[], Contents]) -> None:
    contents = make()
    tracemalloc.start()
    built(contents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize(
    "name", ["a_" * 30_000 + "W", "/".join("a" * 20_000), "/.OPTIMIZER_SLOT/" * 2_000, "_" * 30_000]
)
def test_names_made_to_be_searched_slowly(name: str) -> None:
    start = time.process_time()
    built(legacy({"g": named([f"{name}{place}" for place in range(50)], (2, 3))}, version=None))
    built(flat(named([f"{name}/{place}" for place in range(50)], (2, 3))))
    built(v3({f"{name}/{place}": [(2, 3)] for place in range(5)}))
    assert time.process_time() - start < 30


def test_names_are_kept_as_they_are() -> None:
    spec = built(flat({"a\x1b[2J\n/kernel": (2, 3)}))
    assert kinds(spec) == {"a\x1b[2J\n": "Dense"}


def _layers(count: int) -> Contents:
    shapes = {}
    for place in range(count):
        shapes[f"net/block_{place // 7}/dense_{place}/kernel"] = (place % 31 + 1, place % 29 + 2)
        shapes[f"net/block_{place // 7}/dense_{place}/bias"] = (place % 29 + 2,)
    return flat(shapes)


def test_time_grows_with_the_number_of_variables() -> None:
    from ckptkit import canonical

    def seconds(contents: Contents) -> float:
        best = 60.0
        for _ in range(2):
            start = time.process_time()
            canonical.build(contents, "x").with_flow()
            best = min(best, time.process_time() - start)
        return best

    seconds(_layers(100))
    assert seconds(_layers(20_000)) < 25 * max(seconds(_layers(2_000)), 0.02)
