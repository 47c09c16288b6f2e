"""Candidates of what is left over, and the training state beside the weights."""

from __future__ import annotations

from ckptkit.matching import match
from tests.matching.specs import dense, layer, layer_pairs, spec, variable


def test_the_unpaired_variable_of_nearest_shape_comes_first() -> None:
    a = spec(dense("body", 9, 128), dense("other", 3, 4), dense("cls", 128, 10))
    b = spec(dense("body", 9, 128), dense("head", 128, 3))
    (kernel, bias) = match(a, b).missing
    assert (kernel.nearest[0].name, kernel.nearest[0].why) == ("cls/kernel", "another shape [128, 10]")
    assert bias.nearest[0].why.startswith("another shape")
    assert len(kernel.nearest) <= 3


def test_who_took_it_is_said() -> None:
    a = spec(dense("x", 4, 4))
    b = spec(dense("x", 4, 4), dense("extra", 4, 4))
    assert match(a, b).missing[0].nearest[0].why == "already taken by x/kernel"


def test_another_role_and_another_dtype() -> None:
    a = spec(layer("d", None, [("w", (4, 4))]), dense("e", 4, 5, dtype="int8"))
    b = spec(layer("d", None, [("v", (4, 4))]), dense("e", 4, 5))
    whys = {u.name: {c.name: c.why for c in u.nearest} for u in match(a, b, by="order").missing}
    assert whys["e/kernel"]["e/kernel"] == "another dtype int8"


def test_a_name_that_is_not_fit_to_print_is_shown_escaped() -> None:
    a = spec(dense("x", 4, 4))
    b = spec(dense("x", 4, 4), dense("y", 4, 4))
    evil = spec(dense("x\x1b[2J", 4, 4), dense("z", 4, 4))
    for found in (match(a, b), match(evil, b), match(b, evil)):
        for left in (*found.missing, *found.unexpected):
            assert all("\x1b" not in candidate.why for candidate in left.nearest)


def with_slots(name: str, *, slots: tuple[str, ...] = ("m", "v"), step: str = "optimizer/iteration"):
    made, variables = dense(name, 4, 5)
    state = [
        variable(f"optimizer/{v.name}/{slot}", v.shape, kind="slot", slot_of=v.name)
        for v in variables
        for slot in slots
    ]
    return spec((made, variables), loose=[*state, variable(step, (), kind="state", dtype="int64")])


def test_state_is_left_alone_unless_asked_for() -> None:
    found = match(with_slots("a"), with_slots("b"), by="order")
    assert layer_pairs(found) == {"a": "b"}
    assert found.complete


def test_slots_go_where_their_variables_go() -> None:
    found = match(with_slots("a"), with_slots("b"), by="order", slots=True)
    pairs = {pair.target: pair.source for pair in found.pairs}
    assert pairs["optimizer/b/kernel/m",] == ("optimizer/a/kernel/m",)
    assert pairs["optimizer/b/bias/v",] == ("optimizer/a/bias/v",)
    assert pairs["optimizer/iteration",] == ("optimizer/iteration",)
    assert found.complete


def test_slots_of_another_optimizer_are_left_over() -> None:
    found = match(with_slots("a", step="s"), with_slots("a", slots=("momentum",), step="t"), slots=True)
    assert {left.name for left in found.missing} == {
        "optimizer/a/kernel/momentum", "optimizer/a/bias/momentum", "t",
    }  # fmt: skip
    assert len(found.unexpected) == 5


def test_slots_of_transformed_weights_stay() -> None:
    parts = [("kernel", (4, 5)), ("bias", (5,))]
    made, variables = layer("a", "Dense", parts, row="other/Dense")
    slot = variable("optimizer/a/kernel/m", (4, 5), kind="slot", slot_of="a/kernel")
    found = match(spec((made, variables), loose=[slot]), with_slots("a", slots=("m",)), slots=True)
    assert [left.name for left in found.unexpected] == ["optimizer/a/kernel/m"]


def test_variables_that_tensorflow_numbered_match_by_order() -> None:
    a = spec(loose=[variable("Variable", (4, 5)), variable("Variable_1", (5,)), variable("Variable_2", (5, 3))])
    b = spec(
        loose=[variable("net/Variable_3", (4, 5)), variable("net/Variable_4", (5,)), variable("net/Variable_5", (5, 3))]
    )
    found = match(a, b, by="order")
    assert [(p.source[0], p.target[0]) for p in found.pairs] == [
        ("Variable", "net/Variable_3"),
        ("Variable_1", "net/Variable_4"),
        ("Variable_2", "net/Variable_5"),
    ]


def test_variables_of_unlike_names_are_not_matched_by_shape() -> None:
    a, b = spec(loose=[variable("k", (4, 5))]), spec(loose=[variable("temperature", (4, 5))])
    for by in ("auto", "order", "scope"):
        assert not match(a, b, by=by).pairs
