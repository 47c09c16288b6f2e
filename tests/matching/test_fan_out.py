from __future__ import annotations

import pytest

from ckptkit.matching import match
from tests.matching.specs import dense, spec

ONE = spec(dense("dense_a", 4, 4), dense("dense_b", 4, 4))
TWO = spec(*[dense(f"feed_forward_{tower}/dense_{name}", 4, 4) for tower in "xy" for name in "ab"])
METHODS = ("auto", "order", "scope")


def fed(found) -> dict[str, str]:
    """Target layer -> source layer."""
    return {pair.target[0].rpartition("/")[0]: pair.source[0].rpartition("/")[0] for pair in found.pairs}


@pytest.mark.parametrize("by", METHODS)
def test_a_source_fills_both_towers(by) -> None:
    found = match(ONE, TWO, by=by, fan_out=True)
    assert fed(found) == {f"feed_forward_{tower}/dense_{name}": f"dense_{name}" for tower in "xy" for name in "ab"}
    assert found.complete
    assert all("fan-out" in pair.evidence for pair in found.pairs)


@pytest.mark.parametrize("by", METHODS)
def test_towers_that_must_be_equal_feed_one_target(by) -> None:
    found = match(TWO, ONE, by=by, fan_out=True)
    assert fed(found) == {f"dense_{name}": f"feed_forward_x/dense_{name}" for name in "ab"}
    assert found.complete
    assert found.pairs[0].copies == (("feed_forward_y/dense_a/kernel",),)
    assert all(len(pair.copies) == 1 for pair in found.pairs)


@pytest.mark.parametrize("by", METHODS)
def test_only_when_asked_for(by) -> None:
    for a, b in ((ONE, TWO), (TWO, ONE)):
        found = match(a, b, by=by)
        assert not found.pairs
        assert found.ambiguous


@pytest.mark.parametrize("by", METHODS)
def test_it_changes_nothing_where_nothing_is_repeated(by) -> None:
    assert match(TWO, TWO, by=by, fan_out=True) == match(TWO, TWO, by=by)


def test_towers_of_unlike_layers_need_no_names() -> None:
    a = spec(dense("dense", 6, 4), dense("dense_1", 4, 3), dense("dense_2", 3, 1))
    b = spec(
        dense("dense", 6, 4), dense("dense_2", 6, 4), dense("dense_1", 4, 3), dense("dense_3", 4, 3), dense("out", 3, 1)
    )
    found = match(a, b, by="order", fan_out=True)
    assert fed(found) == {
        "dense": "dense",
        "dense_2": "dense",
        "dense_1": "dense_1",
        "dense_3": "dense_1",
        "out": "dense_2",
    }
    assert found.complete


def test_towers_in_scopes_of_their_own_are_filled_by_rank() -> None:
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(
        dense("left/dense", 4, 4),
        dense("left/dense_1", 4, 4),
        dense("right/dense_2", 4, 4),
        dense("right/dense_3", 4, 4),
    )
    found = match(a, b, by="order", fan_out=True)
    assert fed(found) == {
        "left/dense": "dense",
        "left/dense_1": "dense_1",
        "right/dense_2": "dense",
        "right/dense_3": "dense_1",
    }


def test_flat_automatic_names_do_not_say_where_a_tower_ends() -> None:
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(*[dense(f"dense_{i}", 4, 4) for i in range(2, 6)])
    for by in METHODS:
        found = match(a, b, by=by, fan_out=True)
        assert not found.pairs, by
        assert found.ambiguous


def test_towers_of_unequal_length_are_not_filled() -> None:
    a = spec(dense("p", 4, 4), dense("q", 4, 4))
    b = spec(dense("x/u", 4, 4), dense("x/v", 4, 4), dense("x/w", 4, 4), dense("y/u", 4, 4))
    assert not match(a, b, by="order", fan_out=True).pairs


def test_a_new_layer_of_equal_shape_is_no_repetition() -> None:
    a = spec(dense("encoder", 4, 4))
    b = spec(dense("encoder", 4, 4), dense("new_head", 4, 4))
    found = match(a, b, fan_out=True)
    assert fed(found) == {"encoder": "encoder"}
    assert [left.name for left in found.missing] == ["new_head/kernel", "new_head/bias"]


def test_company_for_a_pair_by_name() -> None:
    a = spec(dense("dense_a", 4, 4), dense("dense_b", 4, 4))
    b = spec(dense("dense_a", 4, 4), dense("dense_b", 4, 4), dense("again/dense_b", 4, 4))
    found = match(a, b, fan_out=True)
    assert fed(found) == {"dense_a": "dense_a", "dense_b": "dense_b", "again/dense_b": "dense_b"}
    assert match(b, a, fan_out=True).complete


def test_three_towers() -> None:
    b = spec(*[dense(f"t{tower}/dense_{name}", 4, 4) for tower in "123" for name in "ab"])
    assert len(match(ONE, b, fan_out=True).pairs) == 12
    back = match(b, ONE, fan_out=True)
    assert all(len(pair.copies) == 2 for pair in back.pairs)
    assert back.complete
