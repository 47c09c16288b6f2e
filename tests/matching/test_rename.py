from __future__ import annotations

import pytest

from ckptkit.errors import UsageError
from ckptkit.matching import match
from ckptkit.matching.rename import Renaming
from tests.matching.specs import dense, layer_pairs, spec


def renamed(path: str, *rules: str) -> str:
    return Renaming(rules).apply(path, ())[0]


def test_rules_apply_in_order() -> None:
    assert renamed("old/dense", "^old/=new/", "dense=fc") == "new/fc"
    assert renamed("a", "a=b", "b=c") == "c"
    assert renamed("a", "b=c", "a=b") == "b"


def test_groups_and_an_empty_replacement() -> None:
    assert renamed("tower_x/dense", r"tower_(\w)/(.*)=\2_\1") == "dense_x"
    assert renamed("model/dense", "^model/=") == "dense"


def test_the_first_plain_equals_sign_ends_the_pattern() -> None:
    assert renamed("ab", "a=x=y") == "x=yb"
    assert renamed("a=b", r"a\=b=c") == "c"
    assert renamed("dense_a", r"dense(?\=_a)=fc") == "fc_a"
    assert renamed("a", r"a=x\=y") == "x=y"


@pytest.mark.parametrize(
    "rule", ["", "no equals sign", r"only\=escaped", "=x", "(=x", "*a=b", r"a=\1", r"a=\g<name>", "a=\\"]
)
def test_bad_rules_are_usage_errors(rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        match(spec(dense("a", 2, 3)), spec(dense("b", 2, 3)), rename=[rule])
    assert "\n" not in str(caught.value)


def test_rules_rename_the_source_only() -> None:
    a = spec(dense("old/x", 4, 4), dense("old/y", 4, 4))
    b = spec(dense("new/y", 4, 4), dense("new/x", 4, 4))
    found = match(a, b, by="name", rename=["^old/=new/"])
    assert layer_pairs(found) == {"old/x": "new/x", "old/y": "new/y"}
    assert found.complete


def test_two_layers_renamed_to_one_path_are_not_paired_by_it() -> None:
    a = spec(dense("x/dense_a", 4, 4), dense("y/dense_a", 4, 4))
    b = spec(dense("dense_a", 4, 4))
    for by in ("auto", "scope", "order", "name"):
        found = match(a, b, by=by, rename=["^[xy]/="])
        assert not found.pairs, by
        assert not found.complete


def test_a_rule_chooses_one_tower() -> None:
    a = spec(*[dense(f"feed_forward_{tower}/dense_{name}", 4, 4) for tower in "xy" for name in "ab"])
    b = spec(dense("dense_a", 4, 4), dense("dense_b", 4, 4))
    for by in ("auto", "scope"):
        found = match(a, b, by=by, rename=["^feed_forward_y/="])
        assert layer_pairs(found) == {"feed_forward_y/dense_a": "dense_a", "feed_forward_y/dense_b": "dense_b"}
        assert not found.missing
        assert [left.name for left in found.unexpected] == [v.name for v in a.variables[:4]]
