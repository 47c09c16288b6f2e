"""Matching by content, over fingerprints that a test makes up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from ckptkit.matching.result import Match
from ckptkit.matching.value import match_by_value
from ckptkit.model import CheckpointSpec, Fingerprint, Kind, Variable


@dataclass(frozen=True)
class Held:
    """A made-up content: elements as numbers, in an order."""

    elements: tuple[int, ...]
    shape: tuple[int, ...] | None = None
    kind: Kind = "weight"
    dtype: str = "float32"
    key: str | None = None


def zeros(size: int = 4, **other) -> Held:
    return Held((0,) * size, **other)


def values(start: int, size: int = 6, **other) -> Held:
    return Held(tuple(range(start, start + size)), **other)


def match(a: Mapping[str, Held], b: Mapping[str, Held], proven: tuple[tuple[str, str], ...] = ()) -> Match:
    specs, prints = [], []
    for side, held in enumerate((a, b)):
        variables, found = [], {}
        for name, content in held.items():
            layer, _, role = name.rpartition("/")
            shape = content.shape if content.shape is not None else (len(content.elements),)
            assert math.prod(shape) == len(content.elements)
            key = content.key or f"{'ab'[side]}:{name}"
            variables.append(Variable(name, key, (), layer, role or None, content.kind, None, shape, content.dtype, 0))
            mixed = sum(hash(("mix", element)) % (1 << 128) for element in content.elements) % (1 << 128)
            ordered = repr(content.elements).encode()
            found[name] = Fingerprint(shape, content.dtype, ordered, mixed, len(set(content.elements)) == 1)
        specs.append(CheckpointSpec("x", "x", None, "stored", (), tuple(variables)))
        prints.append({name: each for name, each in found.items() if all(name != pair[side] for pair in proven)})
    return match_by_value(specs[0], specs[1], prints[0], prints[1], proven=proven)


def pairs(found: Match) -> list[tuple[str, str, tuple[str, ...]]]:
    return [("+".join(pair.source), "+".join(pair.target), pair.evidence) for pair in found.pairs]


def test_unique_contents_are_paired_whatever_their_names() -> None:
    found = match({"x/k": values(1), "y/k": values(20)}, {"u/w": values(20), "v/w": values(1)})
    assert pairs(found) == [("y/k", "u/w", ("value",)), ("x/k", "v/w", ("value",))]
    assert found.by == "value"
    assert found.complete


def test_equal_names_are_said_too() -> None:
    assert pairs(match({"x/k": values(1)}, {"x/k": values(1)})) == [("x/k", "x/k", ("value", "name"))]


def test_what_is_not_equal_is_not_paired_and_says_what_came_near() -> None:
    found = match({"x/k": values(1), "y/k": values(50, 4)}, {"x/k": values(2), "y/k": values(9, 5)})
    assert found.pairs == ()
    assert [each.name for each in found.missing] == [each.name for each in found.unexpected] == ["x/k", "y/k"]
    assert found.missing[0].nearest[0].why == "the same name, other values"
    assert found.missing[1].nearest[0].why == "the same name, another shape [4]"


def test_equal_bits_of_another_dtype_are_not_equal() -> None:
    assert match({"x/k": values(1)}, {"x/k": values(1, dtype="int32")}).pairs == ()


def test_twins_are_ambiguous_and_never_paired_by_luck() -> None:
    found = match({"x/k": values(1), "y/k": values(1)}, {"x/k": values(1)})
    assert found.pairs == ()
    assert (found.ambiguous[0].source, found.ambiguous[0].target) == (("x/k", "y/k"), ("x/k",))
    assert "2 against 1" in found.ambiguous[0].why


def test_a_slot_with_the_same_content_does_not_disturb() -> None:
    found = match({"x/k": values(1), "ema/k": values(1, kind="slot")}, {"u/w": values(1)})
    assert pairs(found) == [("x/k", "u/w", ("value",))]
    assert [each.name for each in found.unexpected] == ["ema/k"]


def test_contents_of_another_kind_are_paired_when_nothing_else_is() -> None:
    found = match({"x/average": values(1, kind="state")}, {"u/moving_mean": values(1)})
    assert pairs(found) == [("x/average", "u/moving_mean", ("value",))]


def test_equal_constants_of_many_are_ambiguous() -> None:
    found = match({"x/b": zeros(), "y/b": zeros()}, {"u/b": zeros(), "v/b": zeros()})
    assert found.pairs == ()
    assert (found.ambiguous[0].source, found.ambiguous[0].target) == (("x/b", "y/b"), ("u/b", "v/b"))


def test_a_constant_alone_on_each_side_is_not_paired_when_others_could_be_it() -> None:
    found = match({"x/b": zeros(), "y/b": values(1, 4)}, {"u/b": values(30, 4), "v/b": zeros()})
    assert found.pairs == ()
    assert (found.ambiguous[0].source, found.ambiguous[0].target) == (("x/b",), ("v/b",))


@pytest.mark.parametrize(
    ("a", "b", "evidence"),
    [
        # the name says the same
        ({"x/b": zeros(), "y/b": values(1, 4)}, {"x/b": zeros(), "y/b": values(9, 4)}, ("value", "name")),
        # so does the native key
        ({"x/b": zeros(key="k"), "y/b": values(1, 4)}, {"u/b": zeros(key="k"), "v/b": values(9, 4)}, ("value", "name")),
        # the layers are paired already, and the role is the same
        (
            {"x/k": values(1), "x/b": zeros(), "y/b": values(40, 4)},
            {"u/k": values(1), "u/b": zeros(), "v/b": values(90, 4)},
            ("value", "scope"),
        ),
        # every other variable of the shape is explained
        ({"x/b": zeros(), "y/b": values(1, 4)}, {"u/b": values(1, 4), "v/b": zeros()}, ("value", "shape")),
        # every other variable of the shape and role is
        ({"x/gamma": zeros(), "y/b": values(1, 4)}, {"u/gamma": zeros(), "v/b": values(9, 4)}, ("value", "shape")),
    ],
)
def test_a_constant_is_paired_when_something_else_says_so(a, b, evidence) -> None:
    assert evidence in [each for _, _, each in pairs(match(a, b))]


def test_scalars_that_tell_each_other_apart_are_paired() -> None:
    a = {"Variable": Held((5,), ()), "Variable_1": Held((7,), ())}
    found = match(a, {"a": Held((5,), ()), "b": Held((7,), ())})
    assert pairs(found) == [("Variable", "a", ("value", "shape")), ("Variable_1", "b", ("value", "shape"))]


def test_a_step_counter_is_too_weak_and_two_against_one_ambiguous() -> None:
    step, other = Held((100,), (), "state", "int64"), Held((7,), (), "state", "int64")
    found = match({"iterations": step, "epoch": other}, {"global_step": step})
    assert found.pairs == ()
    assert found.ambiguous[0].source == ("iterations",)
    twice = match({"global_step": step, "Ftrl/iter": step}, {"global_step": step})
    assert twice.pairs == ()
    assert twice.ambiguous[0].source == ("global_step", "Ftrl/iter")


def test_a_few_whole_numbers_are_weak_too() -> None:
    a = {"x/seed": Held((1, 2), dtype="int64"), "y/seed": Held((5, 6), dtype="int64")}
    b = {"u/seed": Held((1, 2), dtype="int64"), "v/seed": Held((8, 9), dtype="int64")}
    assert match(a, b).pairs == ()


def test_another_shape_of_the_same_bytes() -> None:
    found = match({"x/scale": values(1, shape=(1, 1, 1, 6))}, {"u/gamma": values(1)})
    assert pairs(found) == [("x/scale", "u/gamma", ("value",))]


def test_the_same_elements_in_another_order() -> None:
    turned = Held((1, 4, 2, 5, 3, 6), (3, 2))
    found = match({"x/k": values(1, shape=(2, 3))}, {"u/w": turned})
    assert pairs(found) == [("x/k", "u/w", ("value",))]
    few = match({"x/k": Held((1, 2))}, {"x/k": Held((2, 1))})
    assert few.pairs == ()


def test_parts_of_one_layer_that_make_the_whole() -> None:
    a = {"lstm/kernel": values(1, 8), "lstm/recurrent_kernel": values(20, 4), "other/kernel": values(60, 4)}
    found = match(a, {"cell/w": Held((*range(1, 9), *range(20, 24)))})
    assert pairs(found) == [("lstm/kernel+lstm/recurrent_kernel", "cell/w", ("value",))]
    assert [each.name for each in found.unexpected] == ["other/kernel"]


def test_a_whole_that_was_split_and_parts_against_parts() -> None:
    whole, parts = {"c/w": Held((*range(1, 9), *range(20, 24)))}, {"l/k": values(1, 8), "l/r": values(20, 4)}
    assert pairs(match(whole, parts)) == [("c/w", "l/k+l/r", ("value",))]
    other_cut = {"g/gates": values(1, 6), "g/candidate": Held((7, 8, *range(20, 24)))}
    assert pairs(match(other_cut, parts)) == [("g/gates+g/candidate", "l/k+l/r", ("value",))]


def test_parts_in_sibling_layers_count_too() -> None:
    a = {"cell/gates/kernel": values(1, 8), "cell/candidate/kernel": values(20, 4)}
    found = match(a, {"gru/w": Held((*range(1, 9), *range(20, 24)))})
    assert pairs(found) == [("cell/gates/kernel+cell/candidate/kernel", "gru/w", ("value",))]


def test_parts_of_different_layers_are_no_join() -> None:
    a = {"x/one/kernel": values(1, 8), "y/two/kernel": values(20, 4)}
    assert match(a, {"c/w": Held((*range(1, 9), *range(20, 24)))}).pairs == ()


def test_proven_pairs_are_taken_and_speak_for_their_layers() -> None:
    a = {"x/k": values(1), "x/b": zeros(), "y/b": values(1, 4)}
    b = {"u/k": values(1), "u/b": zeros(), "v/b": values(9, 4)}
    found = match(a, b, proven=(("x/k", "u/k"),))
    assert pairs(found) == [("x/k", "u/k", ("value",)), ("x/b", "u/b", ("value", "scope"))]


def test_every_variable_is_in_one_place() -> None:
    a = {"x/k": values(1), "x/b": zeros(), "y/k": values(30), "y/b": zeros(), "z/k": values(90)}
    b = {"u/k": values(30), "u/b": zeros(), "v/b": zeros(), "w/k": values(70)}
    found = match(a, b)
    placed = [name for pair in found.pairs for name in pair.source]
    placed += [each.name for each in found.unexpected] + [name for group in found.ambiguous for name in group.source]
    assert sorted(placed) == sorted(a)


def test_many_variables_take_time_in_proportion() -> None:
    a = {f"x{number}/k": values(10 * number) for number in range(3000)}
    a |= {f"x{number}/s": Held((number,), ()) for number in range(3000)}
    b = {f"u{number}/{role}": a[f"x{number}/{role}"] for number in range(3000) for role in "ks"}
    assert len(match(a, b).pairs) == 6000
