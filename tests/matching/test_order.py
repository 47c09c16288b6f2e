from __future__ import annotations

import pytest

from ckptkit.matching import match
from tests.matching.specs import accounted, batch_norm, conv, dense, layer, layer_pairs, spec

LSTM = [("kernel", (6, 20)), ("recurrent_kernel", (5, 20)), ("bias", (20,))]


def order_pairs(a, b, **options):
    found = match(a, b, by="order", **options)
    if not options:
        accounted(found, a, b)
    return layer_pairs(found), found


def test_names_play_no_part_where_signatures_differ() -> None:
    a = spec(dense("dense", 100, 64), dense("dense_1", 64, 5))
    b = spec(dense("dense_2", 100, 64), dense("dense_3", 64, 5))
    pairs, found = order_pairs(a, b)
    assert pairs == {"dense": "dense_2", "dense_1": "dense_3"}
    assert found.complete
    assert found.order_sources == ("stored", "stored")
    assert all(pair.evidence[0] == "order" and pair.forms is None for pair in found.pairs)


def test_another_head_makes_a_gap() -> None:
    a = spec(conv("c1", 3, 1, 8), conv("c2", 3, 8, 8), dense("head", 128, 10))
    b = spec(conv("x1", 3, 1, 8), conv("x2", 3, 8, 8), dense("cls", 128, 3))
    pairs, found = order_pairs(a, b)
    assert pairs == {"c1": "x1", "c2": "x2"}
    assert [left.name for left in found.missing] == ["cls/kernel", "cls/bias"]
    assert [left.name for left in found.unexpected] == ["head/kernel", "head/bias"]
    assert found.missing[0].nearest[0].name == "head/kernel"
    assert found.missing[0].nearest[0].why == "another shape [128, 10]"


def test_an_inserted_layer_does_not_shift_the_rest() -> None:
    a = spec(dense("a1", 4, 4), dense("a2", 4, 5), dense("a3", 5, 4), dense("a4", 4, 4))
    b = spec(dense("b1", 4, 4), dense("b2", 4, 5), dense("new", 5, 5), dense("b3", 5, 4), dense("b4", 4, 4))
    assert order_pairs(a, b)[0] == {"a1": "b1", "a2": "b2", "a3": "b3", "a4": "b4"}


def test_which_of_three_equal_layers_is_new_is_ambiguous() -> None:
    a = spec(dense("in", 9, 4), dense("u1", 4, 4), dense("u2", 4, 4), dense("out", 4, 1))
    b = spec(dense("first", 9, 4), dense("v1", 4, 4), dense("v2", 4, 4), dense("v3", 4, 4), dense("last", 4, 1))
    pairs, found = order_pairs(a, b)
    assert pairs == {"in": "first", "out": "last"}
    (group,) = found.ambiguous
    assert group.source == ("u1/kernel", "u1/bias", "u2/kernel", "u2/bias")
    assert len(group.target) == 6
    assert "order" in group.why


def test_given_names_break_the_tie_and_automatic_ones_do_not() -> None:
    a = spec(dense("query", 4, 4), dense("key", 4, 4))
    b = spec(dense("query", 4, 4), dense("extra", 4, 4), dense("key", 4, 4))
    pairs, found = order_pairs(a, b)
    assert pairs == {"query": "query", "key": "key"}
    assert all("scope" in pair.evidence for pair in found.pairs)
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(dense("dense", 4, 4), dense("dense_1", 4, 4), dense("dense_2", 4, 4))
    pairs, found = order_pairs(a, b)
    assert pairs == {}
    assert len(found.ambiguous) == 1


def test_given_names_against_the_order_are_ambiguous() -> None:
    a = spec(dense("query", 4, 4), dense("key", 4, 4), dense("value", 4, 4))
    b = spec(dense("key", 4, 4), dense("query", 4, 4), dense("value", 4, 4))
    pairs, found = order_pairs(a, b)
    assert pairs == {"value": "value"}
    (group,) = found.ambiguous
    assert "names" in group.why
    assert group.source == ("query/kernel", "query/bias", "key/kernel", "key/bias")


def test_automatic_names_against_the_order_are_shown() -> None:
    a = spec(dense("dense", 4, 4), dense("dense_1", 4, 4))
    b = spec(dense("dense_1", 4, 4), dense("dense", 4, 4))
    pairs, found = order_pairs(a, b)
    assert pairs == {"dense": "dense_1", "dense_1": "dense"}
    assert all("names disagree" in pair.evidence for pair in found.pairs)


def test_interleaved_branches() -> None:
    # A residual block with a projection: main path c1, c2 and shortcut s, listed in another order.
    a = spec(conv("c1", 1, 8, 4), conv("c2", 3, 4, 4), conv("s", 1, 8, 16), conv("c3", 1, 4, 16), dense("out", 16, 2))
    b = spec(conv("d1", 1, 8, 4), conv("t", 1, 8, 16), conv("d2", 3, 4, 4), conv("d3", 1, 4, 16), dense("fc", 16, 2))
    pairs, found = order_pairs(a, b)
    assert pairs == {"c1": "d1", "c2": "d2", "s": "t", "c3": "d3", "out": "fc"}
    evidence = {pair.source[0]: pair.evidence for pair in found.pairs}
    assert evidence["c1/kernel"] == ("order",)
    assert evidence["s/kernel"] == ("shape", "order (another place)")


def test_equal_branches_in_another_order_are_not_paired_by_rank() -> None:
    a = spec(dense("p", 4, 4), dense("p_out", 4, 1), dense("q", 4, 4), dense("q_out", 4, 2))
    b = spec(dense("y", 4, 4), dense("y_out", 4, 2), dense("x", 4, 4), dense("x_out", 4, 1))
    pairs, found = order_pairs(a, b)
    assert "p" not in pairs
    assert "q" not in pairs
    assert len(found.ambiguous) == 1


def test_halves_of_bidirectional_layers_are_kept_apart() -> None:
    a = spec(layer("bidirectional/forward_lstm", "LSTM", LSTM), layer("bidirectional/backward_lstm", "LSTM", LSTM))
    b = spec(layer("rnn/bw/lstm_cell", "LSTM", LSTM), layer("rnn/fw/lstm_cell", "LSTM", LSTM))
    for by in ("order", "auto"):
        found = match(a, b, by=by)
        assert layer_pairs(found) == {
            "bidirectional/forward_lstm": "rnn/fw/lstm_cell",
            "bidirectional/backward_lstm": "rnn/bw/lstm_cell",
        }


def test_an_optional_part_that_one_side_lacks() -> None:
    a = spec(conv("c", 3, 1, 8), batch_norm("BatchNorm", 8, gamma=False), dense("d", 8, 2))
    b = spec(conv("conv2d", 3, 1, 8), batch_norm("batch_normalization", 8), dense("dense", 8, 2))
    found = match(a, b, by="order")
    gamma = next(pair for pair in found.pairs if pair.target == ("batch_normalization/gamma",))
    assert gamma.source == ()
    assert gamma.forms is not None
    assert found.complete
    back = match(b, a, by="order")
    assert [left.name for left in back.unexpected] == ["batch_normalization/gamma"]
    assert not back.missing


def test_layers_with_all_parts_go_first() -> None:
    a = spec(dense("with_bias", 4, 4), dense("bare", 4, 4, bias=False))
    b = spec(dense("other", 4, 4, bias=False), dense("bias", 4, 4))
    assert order_pairs(a, b)[0] == {"with_bias": "bias", "bare": "other"}


def test_options_that_contradict_are_refused_by_name() -> None:
    a = spec(layer("gru", "GRU", LSTM, options=("reset_after=False",)))
    b = spec(layer("gru", "GRU", LSTM, options=("reset_after=True",)))
    for by in ("order", "scope", "auto"):
        found = match(a, b, by=by)
        assert not found.pairs
        assert found.missing[0].nearest[0].why == "another option reset_after=False"
        assert found.unexpected[0].nearest[0].why == "another option reset_after=True"


def test_an_option_that_one_side_does_not_tell_does_not_matter() -> None:
    a, b = spec(layer("x", "GRU", LSTM, options=("reset_after=False",))), spec(layer("y", "GRU", LSTM))
    assert match(a, b, by="order").complete


@pytest.mark.parametrize(("one", "other"), [("LayerNormalization", "GroupNormalization"), ("LSTM", "GRU")])
def test_another_kind_with_equal_shapes_is_refused(one: str, other: str) -> None:
    parts = [("gamma", (8,)), ("beta", (8,))]
    for by in ("order", "scope", "auto"):
        found = match(spec(layer("n", one, parts)), spec(layer("n", other, parts)), by=by)
        assert not found.pairs
        assert found.missing[0].nearest[0].why == f"another kind of layer, {one}"


def test_dtypes_that_no_cast_joins_are_refused() -> None:
    a = spec(dense("d", 4, 4, dtype="int8"))
    for dtype, complete in (("float32", False), ("int8", True)):
        assert match(a, spec(dense("d", 4, 4, dtype=dtype)), by="order").complete is complete
    assert match(spec(dense("d", 4, 4, dtype="bfloat16")), spec(dense("d", 4, 4)), by="order").complete


def test_unknown_layers_match_on_their_variables() -> None:
    own = [("odd/u", (3, 4)), ("odd/v", (4,))]
    a, b = spec(layer("a", None, own)), spec(layer("b", None, own))
    pairs = match(a, b, by="order").pairs
    assert [(pair.source, pair.target) for pair in pairs] == [
        (("a/odd/u",), ("b/odd/u",)),
        (("a/odd/v",), ("b/odd/v",)),
    ]
    other = spec(layer("b", None, [("odd/u", (3, 4)), ("odd/w", (4,))]))
    assert not match(a, other, by="order").pairs


def test_a_known_layer_and_an_unknown_one_match_on_equal_variables() -> None:
    known, unknown = dense("x", 4, 5), layer("y", None, [("kernel", (4, 5)), ("bias", (5,))])
    assert match(spec(known), spec(unknown), by="order").complete
    assert match(spec(unknown), spec(known), by="order").complete


@pytest.mark.parametrize("order", ["sorted", "natural"])
def test_an_alphabet_is_no_order(order) -> None:
    a = spec(dense("alpha", 4, 4), dense("beta", 4, 4), dense("only", 4, 7), order=order)
    b = spec(dense("gamma", 4, 4), dense("delta", 4, 4), dense("single", 4, 7))
    pairs, found = order_pairs(a, b)
    assert pairs == {"only": "single"}
    assert {pair.evidence for pair in found.pairs} == {("shape",)}
    assert len(found.ambiguous) == 1


def test_numbered_names_are_an_order() -> None:
    a = spec(*[dense(f"layers_{i}", 4, 4) for i in range(12)], order="natural")
    b = spec(*[dense(f"own_{chr(97 + i)}", 4, 4) for i in range(12)])
    assert order_pairs(a, b)[0] == {f"layers_{i}": f"own_{chr(97 + i)}" for i in range(12)}
    wrong = spec(*[dense(f"layers_{i}", 4, 4) for i in (0, 1, 10, 11, 2, 3)], order="sorted")
    assert not match(wrong, spec(*[dense(f"own_{i}", 4, 4) for i in range(6)]), by="order").pairs


def test_nested_against_flat_is_only_a_difference_of_paths() -> None:
    sizes = [(7, 6), (6, 6), (6, 6), (6, 2)]
    a = spec(*[dense(f"model_1/inner/dense_{i}", *size) for i, size in enumerate(sizes)])
    b = spec(*[dense(f"layer_{name}", *size) for name, size in zip("abcd", sizes, strict=True)])
    pairs, found = order_pairs(a, b)
    assert list(pairs.values()) == ["layer_a", "layer_b", "layer_c", "layer_d"]
    assert found.complete


def test_nothing_against_something() -> None:
    a, b = spec(), spec(dense("d", 2, 2))
    for by in ("order", "auto", "scope", "name"):
        assert [left.name for left in match(a, b, by=by).missing] == ["d/kernel", "d/bias"]
        assert [left.name for left in match(b, a, by=by).unexpected] == ["d/kernel", "d/bias"]
        assert match(a, a, by=by).complete
