from __future__ import annotations

from ckptkit.matching import match
from tests.matching.specs import accounted, dense, layer, layer_pairs, spec

GRU = [("kernel", (6, 12)), ("recurrent_kernel", (4, 12)), ("bias", (12,))]


def scope_pairs(a, b):
    found = match(a, b, by="scope")
    accounted(found, a, b)
    return layer_pairs(found), found


def test_prefixes_and_repetitions_are_taken_off() -> None:
    a = spec(
        layer("decoder/decoder/cell", "GRU", GRU),
        dense("decoder/decoder/out_layer", 4, 30),
        layer("encoder/cell", "GRU", GRU),
        order="sorted",
    )
    b = spec(layer("encoder", "GRU", GRU), layer("decoder", "GRU", GRU), dense("out_layer", 4, 30))
    pairs, found = scope_pairs(a, b)
    assert pairs == {
        "decoder/decoder/cell": "decoder",
        "encoder/cell": "encoder",
        "decoder/decoder/out_layer": "out_layer",
    }
    assert found.order_sources is None


def test_un_reused_scopes_are_never_mixed_up() -> None:
    towers = spec(*[dense(f"feed_forward_{tower}/dense_{name}", 4, 4) for tower in "xy" for name in "ab"])
    one = spec(dense("dense_a", 4, 4), dense("dense_b", 4, 4))
    for a, b in ((towers, one), (one, towers)):
        pairs, found = scope_pairs(a, b)
        assert pairs == {}
        assert len(found.ambiguous) == 1
    again = spec(*[dense(f"net/feed_forward_{tower}/dense_{name}", 4, 4) for tower in "yx" for name in "ab"])
    pairs, _ = scope_pairs(towers, again)
    assert pairs == {own: f"net/{own}" for own in pairs}
    assert len(pairs) == 4


def test_reused_scope_is_one_set() -> None:
    shared = spec(dense("feed_forward_shared/dense_a", 4, 4), dense("feed_forward_shared/dense_b", 4, 4))
    one = spec(dense("dense_b", 4, 4), dense("dense_a", 4, 4))
    assert scope_pairs(shared, one)[0] == {
        "feed_forward_shared/dense_a": "dense_a",
        "feed_forward_shared/dense_b": "dense_b",
    }


def test_another_head_of_the_path_is_another_scope() -> None:
    a = spec(dense("generator/conv", 4, 4), dense("generator/out", 4, 2))
    b = spec(dense("generator/conv", 4, 5), dense("discriminator/conv", 4, 4), dense("discriminator/out", 4, 1))
    pairs, found = scope_pairs(a, b)
    assert pairs == {}
    assert not found.complete


def test_automatic_numbers_are_understood() -> None:
    a = spec(dense("sequential/dense", 4, 4), dense("sequential/dense_1", 4, 4), dense("sequential/dense_2", 4, 2))
    b = spec(
        dense("sequential_2/dense_3", 4, 4), dense("sequential_2/dense_4", 4, 4), dense("sequential_2/dense_5", 4, 2)
    )
    pairs, found = scope_pairs(a, b)
    assert pairs == {
        "sequential/dense": "sequential_2/dense_3",
        "sequential/dense_1": "sequential_2/dense_4",
        "sequential/dense_2": "sequential_2/dense_5",
    }
    assert {pair.evidence for pair in found.pairs} == {("order",), ("shape",)}


def test_equal_automatic_names_mean_nothing_when_the_counters_have_shifted() -> None:
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(dense("dense_1", 4, 4), dense("dense_2", 4, 4))
    for by in ("scope", "auto", "order"):
        assert layer_pairs(match(a, b, by=by)) == {"dense": "dense_1", "dense_1": "dense_2"}, by
    three = spec(dense("dense_1", 4, 4), dense("dense_2", 4, 4), dense("dense_3", 4, 4))
    for by in ("scope", "auto", "order"):
        found = match(a, three, by=by)
        assert not found.pairs
        assert len(found.ambiguous) == 1


def test_counters_that_do_not_rise_with_the_order_are_no_evidence() -> None:
    a = spec(dense("dense_1", 4, 4), dense("dense", 4, 4))
    b = spec(dense("dense_5", 4, 4), dense("dense_6", 4, 4))
    pairs, found = scope_pairs(a, b)
    assert pairs == {}
    assert len(found.ambiguous) == 1


def test_given_numbers_are_not_paired_by_elimination() -> None:
    a = spec(dense("fc_1", 4, 4), dense("fc_2", 4, 4))
    b = spec(dense("fc_2", 4, 4), dense("fc_3", 4, 4))
    for by in ("scope", "auto", "order"):
        found = match(a, b, by=by)
        assert "fc_1" not in layer_pairs(found), by
        assert layer_pairs(found).get("fc_2", "fc_2") == "fc_2"
        assert not found.complete


def test_a_given_number_that_one_side_lacks() -> None:
    a, b = spec(dense("block/fc_1", 4, 4)), spec(dense("other/fc_2", 4, 4))
    assert scope_pairs(a, b)[0] == {"block/fc_1": "other/fc_2"}


def test_an_equal_name_with_another_shape_stays_out() -> None:
    a = spec(dense("net/head", 128, 10))
    b = spec(dense("head", 128, 3))
    pairs, found = scope_pairs(a, b)
    assert pairs == {}
    assert found.missing[0].nearest[0].why == "another shape [128, 10]"


def test_paths_that_name_nothing_are_not_matched_by_name() -> None:
    a = spec(dense("layer_with_weights-0", 4, 4), dense("layer_with_weights-1", 4, 4))
    b = spec(dense("x", 4, 4), dense("y", 4, 4))
    assert scope_pairs(a, b)[0] == {}
    assert layer_pairs(match(a, b)) == {"layer_with_weights-0": "x", "layer_with_weights-1": "y"}
