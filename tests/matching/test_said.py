"""What a person says about a match: scopes, rules that reach variables, single pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptkit.errors import UsageError
from ckptkit.matching import match
from ckptkit.matching.result import Match
from ckptkit.matching.within import within
from ckptkit.model import CheckpointSpec, Layer
from tests.matching.specs import accounted, batch_norm, conv, dense, layer, layer_pairs, spec, variable


def variable_pairs(found: Match) -> dict[str, str]:
    """Source variable -> target variable of all pairs of one and one."""
    return {pair.source[0]: pair.target[0] for pair in found.pairs}


def alike(*names: str) -> CheckpointSpec:
    """Layers that nothing but their names tells apart, in no order."""
    return spec(*[dense(name, 4, 4) for name in names], order="sorted")


class TestScopes:
    agent = spec(*[dense(f"{scope}/{name}", 4, 4) for scope in ("Online", "OnlineOld", "Target") for name in "ab"])
    net = alike("a", "b")

    def matched(self, scope: str) -> Match:
        part = within(self.agent, scope, "--source-scope")
        found = match(part.spec, self.net, scopes=(part.scope, ()))
        accounted(found, part.spec, self.net)
        return found

    @pytest.mark.parametrize("scope", ["Online", "Online/", "Target"])
    def test_only_what_lies_below_it_takes_part(self, scope: str) -> None:
        found = self.matched(scope)
        assert layer_pairs(found) == {f"{scope.strip('/')}/{name}": name for name in "ab"}
        assert found.complete

    def test_whole_components_are_compared(self) -> None:
        part = within(self.agent, "Online", "--source-scope")
        assert {name.split("/")[0] for name in part.outside} == {"OnlineOld", "Target"}
        assert len(part.outside) + len(part.spec.variables) == len(self.agent.variables)

    def test_the_target_has_scopes_too(self) -> None:
        part = within(self.agent, "Target", "--target-scope")
        found = match(self.net, part.spec, scopes=((), part.scope))
        assert layer_pairs(found) == {"a": "Target/a", "b": "Target/b"}
        assert {pair.evidence for pair in found.pairs} == {("name",)}

    @pytest.mark.parametrize("by", ["name", "scope", "order"])
    def test_every_method_knows_them(self, by: str) -> None:
        part = within(self.agent, "Target", "--source-scope")
        found = match(part.spec, spec(dense("a", 4, 4), dense("b", 4, 4)), by=by, scopes=(part.scope, ()))  # type: ignore[arg-type]
        assert layer_pairs(found) == {"Target/a": "a", "Target/b": "b"}

    def test_slots_lie_where_their_variables_lie(self) -> None:
        slots = [variable(f"optimizer/{v.name}/m", v.shape, kind="slot", slot_of=v.name) for v in self.agent.variables]
        whole = spec(*[dense(f"{scope}/a", 4, 4) for scope in ("Online", "Target")], loose=slots)
        part = within(whole, "Target", "--source-scope")
        assert [v.name for v in part.spec.variables if v.kind == "slot"] == [
            "optimizer/Target/a/kernel/m", "optimizer/Target/a/bias/m",
        ]  # fmt: skip

    def test_keys_and_aliases_are_looked_at_after_paths(self) -> None:
        keyed = spec(
            loose=[
                replace(variable("w", (3, 4)), key="net/w"),
                replace(variable("net2", (3,)), aliases=("deep/net/b",)),
            ]
        )
        assert [v.name for v in within(keyed, "net", "--source-scope").spec.variables] == ["w"]
        assert [v.name for v in within(keyed, "deep/net", "--source-scope").spec.variables] == ["net2"]

    @pytest.mark.parametrize(
        ("scope", "near"), [("online", "Online"), ("Onlin", "Online"), ("Targets", "Target"), ("Q/Target", "Target")]
    )
    def test_one_that_is_not_there_is_an_error_with_the_nearest(self, scope: str, near: str) -> None:
        with pytest.raises(UsageError, match=rf"--source-scope {scope}: nothing lies below.*{near}\b"):
            within(self.agent, scope, "--source-scope")

    def test_one_further_in_is_named(self) -> None:
        with pytest.raises(UsageError, match=r"Did you mean agent/0/Online\?"):
            within(spec(dense("agent/0/Online/a", 3, 4)), "Online", "--source-scope")

    def test_an_empty_one_is_an_error(self) -> None:
        with pytest.raises(UsageError, match="empty scope"):
            within(self.agent, "/", "--source-scope")


class TestRules:
    def test_an_exact_name_settles_a_pair_and_ties_nothing(self) -> None:
        a, b = alike("x", "y", "z"), alike("p", "q", "r")
        assert not match(a, b).pairs
        found = match(a, b, rename=["^x$=q"])
        assert layer_pairs(found) == {"x": "q"}
        accounted(found, a, b)
        found = match(a, b, rename=["^x$=q", "^z$=p"])
        assert layer_pairs(found) == {"x": "q", "z": "p", "y": "r"}

    def test_it_wins_over_a_layer_that_is_called_so(self) -> None:
        a, b = alike("dense", "dense_1"), alike("dense")
        found = match(a, b, rename=["^dense_1$=dense"])
        assert layer_pairs(found) == {"dense_1": "dense"}
        assert [item.name for item in found.unexpected] == ["dense/kernel", "dense/bias"]

    def test_what_does_not_fit_is_not_forced(self) -> None:
        a = spec(dense("old/body", 4, 4), dense("old/head", 4, 9))
        b = spec(dense("body", 4, 4), dense("head", 4, 7))
        found = match(a, b, rename=["^old/="])
        assert layer_pairs(found) == {"old/body": "body"}
        assert {item.name for item in found.missing} == {"head/kernel", "head/bias"}
        near = found.missing[0].nearest[0]
        assert (near.name, near.why) == ("old/head/kernel", "another shape [4, 9]")

    def test_a_rule_reaches_variables(self) -> None:
        a = spec(loose=[variable("W1", (4, 4)), variable("W2", (4, 4)), variable("b1", (4,)), variable("b2", (4,))])
        b = spec(dense("one", 4, 4), dense("two", 4, 4))
        rules = [r"^W1$=one/kernel", r"^b1$=one/bias", r"^W2$=two/kernel", r"^b2$=two/bias"]
        found = match(a, b, rename=rules)
        assert variable_pairs(found) == {
            "W1": "one/kernel", "b1": "one/bias", "W2": "two/kernel", "b2": "two/bias",
        }  # fmt: skip
        accounted(found, a, b)

    def test_a_variable_of_a_layer_is_renamed_alone(self) -> None:
        a = spec(layer("norm", None, [("g", (4,)), ("b", (4,))]))
        b = spec(layer("norm", None, [("scale", (4,)), ("shift", (4,))]))
        found = match(a, b, rename=["^norm/g$=norm/shift", "/b$=/scale"])
        assert variable_pairs(found) == {"norm/g": "norm/shift", "norm/b": "norm/scale"}

    @pytest.mark.parametrize("rule", ["^dence=x", "kernels=x", "^a$=x"])
    def test_one_that_matches_nothing_is_an_error(self, rule: str) -> None:
        with pytest.raises(UsageError, match=r"matches no layer and no variable.*(Did you mean|inspect)"):
            match(alike("dense", "dense_1"), alike("x"), rename=[rule])

    def test_rules_see_names_without_the_scope(self) -> None:
        part = within(TestScopes.agent, "Online", "--source-scope")
        with pytest.raises(UsageError, match="matches no layer"):
            match(part.spec, alike("p"), rename=["^Online/a=p"], scopes=(part.scope, ()))
        found = match(part.spec, alike("p", "q"), rename=["^a$=q"], scopes=(part.scope, ()))
        assert layer_pairs(found)["Online/a"] == "q"


class TestPairs:
    a, b = alike("x", "y", "z"), alike("p", "q", "r")

    def test_layers(self) -> None:
        found = match(self.a, self.b, pairs={"p": "z", "q": "x"})
        assert layer_pairs(found) == {"z": "p", "x": "q", "y": "r"}
        assert {pair.evidence for pair in found.pairs} == {("map",), ("shape",)}

    def test_a_kernel_takes_its_bias_along(self) -> None:
        assert layer_pairs(match(self.a, self.b, pairs={"p/kernel": "z/kernel"})) == {"z": "p"}

    def test_variables_of_layers_that_do_not_fit_as_a_whole(self) -> None:
        a = spec(batch_norm("bn", 4), layer("odd", None, [("v", (4,)), ("w", (5,))]))
        b = spec(layer("own", None, [("shift", (4,)), ("other", (7,))]), batch_norm("bn", 4))
        found = match(a, b, pairs={"own/shift": "odd/v"})
        assert variable_pairs(found)["odd/v"] == "own/shift"
        assert layer_pairs(found)["bn"] == "bn"
        accounted(found, a, b)

    def test_keys_and_aliases_are_names(self) -> None:
        a = spec(loose=[replace(variable("w", (3, 4)), key="file/w:0", aliases=("scope/w",)), variable("u", (3, 4))])
        for name in ("w", "file/w:0", "scope/w"):
            assert variable_pairs(match(a, alike("p"), pairs={})) == {}
            found = match(a, spec(loose=[variable("t", (3, 4)), variable("s", (3, 4))]), pairs={"t": name})
            assert variable_pairs(found)["w"] == "t"

    def test_a_name_of_several_is_an_error(self) -> None:
        a = spec(loose=[replace(variable(name, (3, 4)), aliases=("same",)) for name in "uw"])
        with pytest.raises(UsageError, match="2 of this name"):
            match(a, spec(loose=[variable("t", (3, 4))]), pairs={"t": "same"})

    @pytest.mark.parametrize(
        ("pairs", "said"),
        [
            ({"p": "xx"}, "source has no layer and no variable"),
            ({"pp": "x"}, "target has no layer and no variable.*Did you mean p"),
            ({"p": "x", "q": "x"}, "another partner already"),
            ({"p/kernel": "x/bias"}, r"another shape \[4\]"),
            ({"p": "x/bias"}, "a layer of several variables"),
        ],
    )
    def test_what_cannot_be_is_an_error_that_says_why(self, pairs: dict[str, str], said: str) -> None:
        with pytest.raises(UsageError, match=said):
            match(self.a, self.b, pairs=pairs)

    def test_layers_of_other_maths_do_not_fit(self) -> None:
        with pytest.raises(UsageError, match="do not fit"):
            match(spec(conv("c", 3, 4, 5)), spec(dense("d", 4, 5)), pairs={"d": "c"})

    @pytest.mark.parametrize("by", ["name", "scope", "order", "auto"])
    def test_every_method_takes_them(self, by: str) -> None:
        found = match(self.a, self.b, by=by, pairs={"r": "x"})  # type: ignore[arg-type]
        assert layer_pairs(found)["x"] == "r"
        accounted(found, self.a, self.b)


def test_a_layer_and_its_only_variable_of_one_name() -> None:
    """A file of plain arrays: what is called `two` is the layer and all that it holds."""
    alone = variable("two", (4, 4), layer="two")
    source = spec((Layer("two", None, ("two",)), (alone,)), order="sorted")
    found = match(source, spec(dense("left", 4, 4, bias=False)), pairs={"left/kernel": "two"})
    assert [(pair.source, pair.target) for pair in found.pairs] == [(("two",), ("left/kernel",))]
