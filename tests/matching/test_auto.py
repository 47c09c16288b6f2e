from __future__ import annotations

import pytest

from ckptkit.matching import match
from tests.matching.specs import accounted, dense, layer, layer_pairs, spec


def auto_pairs(a, b):
    found = match(a, b)
    accounted(found, a, b)
    return layer_pairs(found), found


def evidence(found) -> dict[str, tuple[str, ...]]:
    return {pair.target[0].rpartition("/")[0]: pair.evidence for pair in found.pairs}


def test_equal_names_are_enough() -> None:
    a = spec(dense("x", 4, 4), dense("y", 4, 4))
    pairs, found = auto_pairs(a, a)
    assert pairs == {"x": "x", "y": "y"}
    assert set(evidence(found).values()) == {("name",)}


def test_names_that_a_user_gave_win_against_the_order() -> None:
    names = ("query", "key", "value")
    a = spec(*[dense(name, 4, 4) for name in names])
    b = spec(*[dense(name, 4, 4) for name in reversed(names)])
    pairs, found = auto_pairs(a, b)
    assert pairs == {name: name for name in names}
    assert set(evidence(found).values()) == {("name",)}


def test_names_that_a_counter_gave_do_not() -> None:
    names = ("dense", "dense_1", "dense_2")
    a = spec(*[dense(name, 4, 4) for name in names])
    b = spec(*[dense(name, 4, 4) for name in reversed(names)])
    pairs, found = auto_pairs(a, b)
    assert pairs == {}
    (tie,) = found.ambiguous
    assert set(tie.source) == set(tie.target) == {f"{name}/{role}" for name in names for role in ("kernel", "bias")}


def test_counters_that_give_a_layer_another_place_tell_nothing_of_the_others() -> None:
    """Two lists of the same layers, of which one has the last of them in the middle."""
    a = spec(*[dense(f"stack/{place}", 4, 3 if place == 3 else 4) for place in range(4)], order="object-graph")
    b = spec(*[dense(f"stack/{place}", 4, 3 if place == 1 else 4) for place in range(4)], order="object-graph")
    found = match(a, b)
    accounted(found, a, b)
    assert layer_pairs(found) == {"stack/3": "stack/1"}
    assert len(found.ambiguous) == 1


def test_counters_that_leave_a_changed_head_behind_tell_the_others() -> None:
    a = spec(*[dense(f"stack/{place}", 4, 3 if place == 3 else 4) for place in range(4)], order="object-graph")
    b = spec(*[dense(f"stack/{place}", 4, 5 if place == 3 else 4) for place in range(4)], order="object-graph")
    assert layer_pairs(match(a, b)) == {f"stack/{place}": f"stack/{place}" for place in range(3)}


def test_another_place_among_unlike_layers_is_no_doubt() -> None:
    a = spec(dense("x", 4, 4), dense("y", 4, 5))
    b = spec(dense("y", 4, 5), dense("x", 4, 4))
    assert set(evidence(auto_pairs(a, b)[1]).values()) == {("name",)}


def test_an_alphabetical_order_is_no_doubt() -> None:
    a = spec(dense("x", 4, 4), dense("a", 4, 4), order="sorted")
    b = spec(dense("a", 4, 4), dense("x", 4, 4))
    assert set(evidence(auto_pairs(a, b)[1]).values()) == {("name",)}


def test_words_below_another_scope() -> None:
    a = spec(dense("net/first", 4, 4), dense("net/second", 4, 4))
    b = spec(dense("first", 4, 4), dense("second", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"net/first": "first", "net/second": "second"}
    assert evidence(found) == {"first": ("words: first",), "second": ("words: second",)}


def test_given_names_below_another_scope_win_against_the_order() -> None:
    a = spec(dense("net/first", 4, 4), dense("net/second", 4, 4))
    b = spec(dense("second", 4, 4), dense("first", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"net/first": "first", "net/second": "second"}
    assert evidence(found) == {"first": ("words: first",), "second": ("words: second",)}


def test_automatic_names_below_another_scope_do_not() -> None:
    a = spec(dense("net/dense", 4, 4), dense("net/dense_1", 4, 4))
    b = spec(dense("dense_1", 4, 4), dense("dense", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {}
    assert len(found.ambiguous) == 1


def test_order_alone_where_names_say_nothing() -> None:
    a = spec(dense("one", 4, 4), dense("two", 4, 4))
    b = spec(dense("eins", 4, 4), dense("zwei", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"one": "eins", "two": "zwei"}
    assert set(evidence(found).values()) == {("order",)}


def test_an_order_of_unequal_numbers_decides_nothing() -> None:
    a = spec(dense("u", 4, 4), dense("fixed", 4, 4), dense("v", 4, 4))
    b = spec(dense("x", 4, 4), dense("fixed", 4, 4), dense("y", 4, 4), dense("z", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"fixed": "fixed"}
    (tie,) = found.ambiguous
    assert tie.source == ("u/kernel", "u/bias", "v/kernel", "v/bias")


def test_what_is_left_on_the_other_side_of_a_fixed_point_is_not_paired() -> None:
    around = [dense("bar", 4, 4), dense("left", 4, 5), dense("right", 4, 6)]
    a = spec(dense("foo", 4, 4), *around)
    b = spec(*around, dense("baz", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"bar": "bar", "left": "left", "right": "right"}
    assert [left.name for left in found.missing] == ["baz/kernel", "baz/bias"]


def test_a_layer_whose_namesake_changed_its_shape_is_not_given_another() -> None:
    a = spec(dense("body", 9, 4), dense("head", 4, 10), dense("aux", 4, 3))
    b = spec(dense("body", 9, 4), dense("head", 4, 3))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"body": "body"}
    assert found.missing[0].nearest[0].name == "head/kernel"
    assert found.missing[0].nearest[0].why == "another shape [4, 10]"
    assert "aux/kernel" in [candidate.name for candidate in found.missing[0].nearest]


def test_shifted_automatic_names_of_unlike_shapes_go_by_order() -> None:
    sizes = [(9, 8), (8, 8), (8, 3)]
    a = spec(*[dense(f"dense_{i}", *size) for i, size in enumerate(sizes)])
    b = spec(*[dense(f"dense_{i + 1}", *size) for i, size in enumerate(sizes)])
    assert auto_pairs(a, b)[0] == {f"dense_{i}": f"dense_{i + 1}" for i in range(3)}


def test_shifted_automatic_names_of_several_classes_go_by_order() -> None:
    """`dense_3` is on both sides, the last of one class here and the first of the other there."""
    sizes = [(4, 4), (4, 4), (4, 4), (4, 3)]
    a = spec(*[dense(f"dense_{i}", *size) for i, size in enumerate(sizes)])
    b = spec(*[dense(f"dense_{i + 1}", *size) for i, size in enumerate(sizes)])
    assert auto_pairs(a, b)[0] == {f"dense_{i}": f"dense_{i + 1}" for i in range(4)}


def test_the_only_ones_of_their_class_are_paired_across_a_name() -> None:
    a = spec(dense("norm", 2, 2), dense("dense", 7, 5), dense("dense_1", 6, 7))
    b = spec(dense("body", 6, 7), dense("head", 7, 5), dense("norm", 2, 2))
    pairs, found = auto_pairs(a, b)
    assert pairs == {"norm": "norm", "dense": "head", "dense_1": "body"}
    assert evidence(found)["body"] == ("shape",)


def test_whole_classes_that_both_sides_number_are_paired_whatever_stands_between() -> None:
    """A module lists its convolutions and then its normalisations, a model lists them in turn."""
    a = spec(dense("convs/0", 3, 4), dense("convs/1", 4, 4), dense("norms/0", 2, 2), dense("norms/1", 2, 2))
    b = spec(dense("conv", 3, 4), dense("norm", 2, 2), dense("conv_1", 4, 4), dense("norm_1", 2, 2))
    assert auto_pairs(a, b)[0] == {"convs/0": "conv", "convs/1": "conv_1", "norms/0": "norm", "norms/1": "norm_1"}
    unnumbered = spec(dense("conv", 3, 4), dense("first", 2, 2), dense("conv_1", 4, 4), dense("second", 2, 2))
    assert auto_pairs(a, unnumbered)[0]["norms/0"] == "first"


def test_counters_of_unequal_numbers_tell_nothing_apart() -> None:
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(dense("dense", 4, 4), dense("dense_1", 4, 4), dense("dense_2", 4, 4))
    pairs, found = auto_pairs(a, b)
    assert pairs == {}
    (tie,) = found.ambiguous
    assert (len(tie.source), len(tie.target)) == (4, 6)


def test_a_layer_that_gained_a_variable_keeps_the_pairs_of_the_others() -> None:
    a = spec(layer("custom", None, [("u", (3, 4)), ("v", (4,))]))
    b = spec(layer("custom", None, [("u", (3, 4)), ("v", (5,)), ("w", (4,))]))
    pairs = auto_pairs(a, b)[1].pairs
    assert [(pair.source, pair.target) for pair in pairs] == [(("custom/u",), ("custom/u",))]


def test_a_known_layer_is_moved_whole_or_not_at_all() -> None:
    found = auto_pairs(spec(dense("d", 3, 4)), spec(dense("d", 5, 4)))[1]
    assert not found.pairs
    assert [left.name for left in found.missing] == ["d/kernel", "d/bias"]


def test_equal_names_under_conventions_that_differ_carry_the_readings() -> None:
    parts = [("kernel", (6, 12)), ("recurrent_kernel", (4, 12)), ("bias", (12,))]
    a = spec(layer("gru", "GRU", parts, row="sonnet2/GRU"))
    b = spec(layer("gru", "GRU", parts))
    for by in ("auto", "name"):
        found = match(a, b, by=by)
        assert len(found.pairs) == 3
        assert all(pair.forms is not None and pair.forms[0].row == "sonnet2/GRU" for pair in found.pairs)


def test_an_assumption_that_differs_carries_the_readings() -> None:
    parts = [("kernel", (10, 16)), ("bias", (16,))]
    a = spec(layer("cell", "LSTM", parts, row="rnn_cell/LSTMCell", assumed=("forget_bias=1.0",)))
    b = spec(layer("cell", "LSTM", parts, row="rnn_cell/LSTMCell", assumed=("forget_bias=0.0",)))
    assert all(pair.forms is not None for pair in match(a, b).pairs)
    assert all(pair.forms is None for pair in match(a, a).pairs)


def test_by_name_pairs_whatever_has_the_name() -> None:
    a = spec(dense("x", 4, 4), dense("only_a", 4, 4))
    b = spec(dense("x", 4, 5), dense("only_b", 4, 4))
    found = match(a, b, by="name")
    assert layer_pairs(found) == {"x": "x"}
    assert [left.name for left in found.missing] == ["only_b/kernel", "only_b/bias"]
    assert found.order_sources is None


def test_a_lone_part_is_no_pair_of_names() -> None:
    found = match(spec(dense("x", 4, 4, bias=False)), spec(dense("x", 4, 4)), by="name")
    assert [left.name for left in found.missing] == ["x/bias"]


def test_by_value_is_another_call() -> None:
    with pytest.raises(Exception, match="by value"):
        match(spec(), spec(), by="value")
