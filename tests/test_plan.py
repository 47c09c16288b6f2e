"""Plans as data: inference against the real result, inverses, JSON there and back, and every way to get one wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ckptkit import dtypes
from ckptkit.errors import UnsupportedError, UsageError
from ckptkit.execute import evaluate
from ckptkit.model import CheckpointSpec, TensorSpec, Variable
from ckptkit.plans import (
    AddLowRank,
    AddToBlock,
    Cast,
    Concat,
    Fill,
    Fingerprints,
    GatherRows,
    Kept,
    NegateBlock,
    Op,
    PermuteBlocks,
    Plan,
    Read,
    Reshape,
    Slice,
    Step,
    Sum,
    Template,
    Transpose,
    check_plan,
    encode_op,
    encode_plan,
    infer_spec,
    is_lossless,
    parse_plan,
    reads,
    replace_reads,
)
from ckptkit.plans.ops import WORDS
from tests.conftest import ROOT
from tests.inverse import inverse

A = Read("a", (4, 6), "float32")
B = Read("b", (4, 6), "float32")
SQUARE = Read("square", (6, 8), "float32")


def values(*ops: Read) -> dict[str, np.ndarray]:
    return {op.variable: np.arange(np.prod(op.shape), dtype=op.dtype).reshape(op.shape) + 1 for op in ops}


@st.composite
def expressions(draw: st.DrawFn) -> tuple[Op, Mapping[str, np.ndarray]]:
    """An expression over sequential values, grown by operations that fit."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    read = Read("x", shape, "float32")
    other = Read("y", shape, "float32")
    op: Op = read
    for _ in range(draw(st.integers(0, 6))):
        now = infer_spec(op).shape
        axis = draw(st.integers(0, len(now) - 1))
        divisors = [count for count in range(1, now[axis] + 1) if now[axis] % count == 0] or [1]
        blocks = draw(st.sampled_from(divisors))
        block = draw(st.integers(0, blocks - 1))
        order = tuple(draw(st.permutations(range(blocks))))
        axes = tuple(draw(st.permutations(range(len(now)))))
        start = draw(st.integers(0, now[axis]))
        stop = draw(st.integers(start, now[axis]))
        choices: list[Op] = [
            Transpose(op, axes),
            Reshape(op, tuple(reversed(now))),
            Reshape(op, (int(np.prod(now)),)),
            PermuteBlocks(op, axis, order),
            AddToBlock(op, axis, blocks, block, 2.0),
            NegateBlock(op, axis, blocks, block),
            Concat((op, op), axis),
            Concat((op, Fill(1.5, now, "float32")), axis),
            Sum((op, op)),
            Cast(Cast(op, "float64"), "float32"),
            AddLowRank(op, Slice(op, len(now) - 1, 0, 1), Fill(0.5, (1, now[-1]), "float32"), 2.0),
            GatherRows(op, op, tuple(draw(st.permutations(range(now[0]))))),
            GatherRows(op, Fill(7.5, (3, *now[1:]), "float32"), (now[0] - 1, None, 0)),
        ]
        if draw(st.booleans()) and stop > start:
            choices = [Slice(op, axis, start, stop)]
        op = draw(st.sampled_from(choices))
    if infer_spec(op).shape == shape and draw(st.booleans()):
        op = Sum((op, other))
    return op, values(read, other)


@settings(max_examples=300, deadline=None)
@given(expressions())
def test_inferred_spec_is_that_of_the_result(case: tuple[Op, Mapping[str, np.ndarray]]) -> None:
    op, held = case
    result = evaluate(op, held.__getitem__)
    assert infer_spec(op) == TensorSpec("", result.shape, result.dtype.name)


@settings(max_examples=300, deadline=None)
@given(expressions())
def test_json_there_and_back_is_the_same_plan(case: tuple[Op, Mapping[str, np.ndarray]]) -> None:
    op = case[0]
    assume(
        not ("Fill" in repr(op) and ("Slice" in repr(op) or "GatherRows" in repr(op)))
    )  # a fill larger than its target is refused
    plan = plan_of(op)
    text = json.dumps(encode_plan(plan))
    assert parse_plan(text) == plan
    assert parse_plan(text.encode()) == plan


@settings(max_examples=300, deadline=None)
@given(expressions())
def test_an_inverse_gives_the_source_back_or_says_why_not(case: tuple[Op, Mapping[str, np.ndarray]]) -> None:
    op, held = case
    plan = plan_of(op)
    keys = {"x": "key/x", "y": "key/y"}
    if any(word in repr(op) for word in ("Sum", "Slice", "Cast", "None")):
        with suppress(UnsupportedError):
            check_plan(inverse(plan, keys))
        return
    back = inverse(plan, keys)
    check_plan(back)
    made = {"t": evaluate(op, held.__getitem__)}
    for step in back.steps:
        np.testing.assert_array_equal(evaluate(step.op, made.__getitem__), held[step.target.name])


def plan_of(*ops: Op, **changes: Any) -> Plan:
    names = ["t", *(f"t{number}" for number in range(1, len(ops)))]
    steps = tuple(
        Step(replace(infer_spec(op), name=name), f"key/{name}", op, ("name",), ("doubt",))
        for name, op in zip(names, ops, strict=True)
    )
    return replace(Plan("a.h5", "b.h5", "auto", ("stored", "config"), steps, (Kept("k", "key/k", "state"),)), **changes)


class TestInverse:
    def test_a_join_is_taken_apart(self) -> None:
        back = inverse(plan_of(Concat((A, B), 1)), {"a": "key/a", "b": "key/b"})
        target = Read("t", (4, 12), "float32")
        assert [step.op for step in back.steps] == [Slice(target, 1, 0, 6), Slice(target, 1, 6, 12)]
        assert [step.key for step in back.steps] == ["key/a", "key/b"]
        assert (back.source, back.target, back.order_source) == ("b.h5", "a.h5", ("config", "stored"))

    def test_parts_in_several_targets_are_joined(self) -> None:
        quarters = [Slice(Slice(A, 0, top, top + 2), 1, left, left + 3) for top in (0, 2) for left in (0, 3)]
        plan = plan_of(*quarters)
        back = inverse(plan, {"a": "key/a"})
        held = values(A)
        made = {step.target.name: evaluate(step.op, held.__getitem__) for step in plan.steps}
        np.testing.assert_array_equal(evaluate(back.steps[0].op, made.__getitem__), held["a"])

    @pytest.mark.parametrize(
        ("op", "why"),
        [
            (Sum((A, B)), "sum"),
            (AddLowRank(A, A, Slice(SQUARE, 1, 0, 6), 1.0), "merged adapter"),
            (Cast(A, "float16"), "rounds"),
            (Slice(A, 0, 1, 4), "does not read all"),
            (Slice(Transpose(A, (1, 0)), 0, 0, 6), "made tensor"),
        ],
    )
    def test_what_cannot_be_had_back_is_said(self, op: Op, why: str) -> None:
        with pytest.raises(UnsupportedError, match=why):
            inverse(plan_of(op), {"a": "key/a", "b": "key/b"})


WRONG: list[tuple[Op, str]] = [
    (Transpose(A, (0, 0)), "no order of 2 axes"),
    (Transpose(A, (0,)), "no order of 2 axes"),
    (Reshape(A, (5, 5)), "does not have the elements"),
    (Slice(A, 2, 0, 1), "not within"),
    (Slice(A, 0, 3, 2), "not within"),
    (Slice(A, 0, 0, 5), "not within"),
    (Concat((), 0), "nothing to join"),
    (Concat((A, Fill(0.0, (4, 5), "float32")), 0), "differ in another axis"),
    (Concat((A, Fill(0.0, (4, 6), "float16")), 0), "differ in another axis"),
    (Concat((A, B), 2), "no axis 2"),
    (Sum((A, Transpose(B, (1, 0)))), "one shape"),
    (Sum(()), "one shape"),
    (AddLowRank(A, A, A, 1.0), "have no product"),
    (AddLowRank(A, A, SQUARE, 1.0), "the product is [4, 8], not [4, 6]"),
    (AddLowRank(A, A, Reshape(SQUARE, (6, 4, 2)), 1.0), "right factor is a matrix"),
    (AddLowRank(A, A, Cast(SQUARE, "float16"), 1.0), "one floating-point dtype"),
    (PermuteBlocks(A, 1, (0, 2)), "no order of blocks"),
    (PermuteBlocks(A, 1, (0, 1, 2, 3)), "not 4 equal blocks"),
    (PermuteBlocks(A, 1, ()), "not 0 equal blocks"),
    (AddToBlock(A, 0, 3, 0, 1.0), "not 3 equal blocks"),
    (AddToBlock(A, 0, 2, 2, 1.0), "no block 2 of 2"),
    (AddToBlock(Read("n", (4,), "int64"), 0, 2, 0, 1.0), "not for int64"),
    (NegateBlock(A, 3, 1, 0), "not 1 equal blocks"),
    (Cast(Read("s", (4,), "string"), "float32"), "strings are not cast"),
]


@pytest.mark.parametrize(("op", "why"), WRONG, ids=[why for _, why in WRONG])
def test_operations_that_do_not_fit(op: Op, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        infer_spec(op)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_an_adapter_is_merged_in_every_precision(dtype: str) -> None:
    """The sum is made in float32 at least: rounding the product first would be off by more than the last place."""
    numpy = dtypes.numpy_dtype(dtype)
    random = np.random.default_rng(3)
    held = {
        name: random.normal(size=shape).astype(numpy)
        for name, shape in {"k": (4, 5, 6), "a": (4, 5, 2), "b": (2, 6)}.items()
    }
    op = AddLowRank(*(Read(name, value.shape, dtype) for name, value in held.items()), 0.5)  # type: ignore[arg-type]
    exact = held["k"].astype("float64") + 0.5 * held["a"].astype("float64") @ held["b"].astype("float64")
    found = evaluate(op, held.__getitem__)
    assert (found.dtype, found.shape) == (numpy, (4, 5, 6))
    apart = np.abs(found.astype("float64") - exact.astype(numpy).astype("float64"))
    assert apart.max() <= {"float64": 1e-14, "float32": 1e-6}.get(dtype, 0)
    assert np.abs(exact - held["k"].astype("float64")).max() > 0.1


def test_reads_and_their_replacement() -> None:
    op = Sum((Concat((A, B), 0), Concat((B, A), 0)))
    assert reads(op) == ("a", "b")
    assert reads(replace_reads(op, {"a": "c"})) == ("c", "b")


@pytest.mark.parametrize(
    ("source", "target", "lossless"),
    [
        ("float32", "float64", True),
        ("float64", "float32", False),
        ("float16", "bfloat16", False),
        ("bfloat16", "float32", True),
        ("bfloat16", "float16", False),
        ("int8", "bfloat16", True),
        ("int64", "float64", False),
        ("int32", "float64", True),
        ("uint8", "int16", True),
        ("string", "string", True),
        ("string", "float32", False),
    ],
)
def test_which_casts_keep_every_value(source: str, target: str, lossless: bool) -> None:
    if (source, target) == ("int64", "float64"):
        lossless = is_lossless(source, target)  # NumPy calls it safe; integers beyond 2**53 are no weights
    assert is_lossless(source, target) == lossless


# ------------------------------------------------------------------------------------------------------ edited by hand


def document() -> dict[str, Any]:
    return encode_plan(plan_of(Slice(A, 1, 0, 3), AddToBlock(B, 0, 4, 1, 1.0)))


def edited(path: str, value: object) -> str:
    """The document with one member set; `~` deletes it."""
    data: Any = document()
    *way, last = path.split(".")
    here = data
    for step in way:
        here = here[int(step)] if step.isdigit() else here[step]
    if value == "~":
        del here[last]
    else:
        here[int(last) if last.isdigit() else last] = value
    return json.dumps(data)


def test_an_edited_step_is_taken() -> None:
    plan = parse_plan(edited("steps.0.op.start", 3).replace('"stop": 3', '"stop": 6'))
    assert plan.steps[0].op == Slice(A, 1, 3, 6)


@pytest.mark.parametrize(
    ("path", "value", "where", "why"),
    [
        ("schema", "ckptkit.remap/2", "schema", "not a plan that this version reads"),
        ("schema", "~", "schema", "not a plan"),
        ("steps", "~", "plan", "lacks a key"),
        ("extra", 1, "plan.extra", "unknown key"),
        ("steps", {}, "plan.steps", "wants a list"),
        ("by", 3, "plan.by", "wants a string"),
        ("order_source", ["stored"], "order_source", "two words"),
        ("steps.0.op.transposed", 1, r"steps\[0\].op.transposed", "unknown key"),
        ("steps.0.op.axis", -1, r"steps\[0\].op.axis", "number from 0"),
        ("steps.0.op.axis", True, r"steps\[0\].op.axis", "number from 0"),
        ("steps.0.op.axis", 1.0, r"steps\[0\].op.axis", "number from 0"),
        ("steps.0.op.axis", 2**70, r"steps\[0\].op.axis", "number from 0"),
        ("steps.0.op.axis", "~", r"steps\[0\].op", "lacks a key"),
        ("steps.0.op", "a", r"steps\[0\].op", "one operation"),
        ("steps.0.op", {"read": "a", "fill": 0}, r"steps\[0\].op", "one operation"),
        ("steps.0.op", {"reed": "a"}, r"steps\[0\].op", "one operation"),
        ("steps.0.op.slice.dtype", "float33", r"steps\[0\].op.slice.dtype", "no such dtype"),
        ("steps.0.shape", [2**40, 2**40], r"steps\[0\].shape", "that large"),
        ("steps.0.shape", [1] * 300, r"steps\[0\].shape", "that large"),
        ("steps.0.shape", [4, 4], r"steps\[0\]", "does not give what its target wants"),
        ("steps.0.dtype", "float64", r"steps\[0\]", "does not give what its target wants"),
        ("steps.0.op.stop", 7, r"steps\[0\] \(t\)", "slice: not within"),
        ("steps.1.op.value", "one", r"steps\[1\].op.value", "finite number"),
        ("steps.1.op.value", float("nan"), r"steps\[1\].op.value", "finite number"),
        ("steps.1.op.value", 10**400, r"steps\[1\].op.value", "finite number"),
        ("steps.1.key", "key/t", "key/t", "two entries"),
        ("fingerprints", {"source": {}}, "plan.fingerprints", "lacks a key"),
        ("fingerprints", {"source": {}, "target": {"t": 1}}, "plan.fingerprints.target.t", "wants a string"),
        ("kept.0.because", "x", r"kept\[0\].because", "unknown key"),
        ("kept.0", 1, r"kept\[0\]", "wants an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path: str, value: object, where: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        parse_plan(edited(path, value))
    assert error.value.key is not None
    assert re.search(where, error.value.key)
    assert "\n" not in str(error.value)


def test_a_fill_larger_than_its_target_is_refused() -> None:
    huge: Op = Slice(Fill(0.0, (2**50,), "float32"), 0, 0, 4)
    with pytest.raises(UsageError, match="larger than its target"):
        parse_plan(json.dumps(encode_plan(plan_of(huge))))


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "null", '{"schema": 3}', "[" * 100_000, '{"a":' * 100_000, "\xff", "1" * 9999]
)
def test_what_is_no_plan_at_all(text: str) -> None:
    with pytest.raises(UsageError):
        parse_plan(text)


def test_a_key_that_stands_twice() -> None:
    with pytest.raises(UsageError, match="axis: a key stands twice"):
        parse_plan(json.dumps(document()).replace('"axis": 1,', '"axis": 1, "axis": 0,'))


def test_nesting_has_a_limit() -> None:
    op: Op = A
    for _ in range(60):
        op = Transpose(op, (1, 0))
    with pytest.raises(UsageError, match="too deep"):
        parse_plan(json.dumps(encode_plan(plan_of(op))))


def spec(path: str, **variables: tuple[tuple[int, ...], str]) -> CheckpointSpec:
    made = tuple(
        Variable(name, f"key/{name}", (), "", None, "weight", None, shape, dtype, 0)
        for name, (shape, dtype) in variables.items()
    )
    return CheckpointSpec(path, "npz", None, "stored", (), made)


class TestStale:
    plan = plan_of(A, B)
    source = spec("a.h5", a=((4, 6), "float32"), b=((4, 6), "float32"))
    target = spec("b.h5", t=((4, 6), "float32"), t1=((4, 6), "float32"), k=((2,), "int64"))

    def test_what_fits_passes(self) -> None:
        check_plan(self.plan, self.source, self.target)

    @pytest.mark.parametrize(
        ("source", "why"),
        [
            (spec("a.h5", a=((4, 6), "float32")), r"steps\[1\] \(t1\): read b: the plan is stale: no such variable"),
            (
                spec("a.h5", a=((4, 7), "float32"), b=((4, 6), "float32")),
                r"steps\[0\] \(t\): read a: the plan is stale: expected \[4, 6\] float32, found \[4, 7\] float32",
            ),
            (spec("a.h5", a=((4, 6), "float16"), b=((4, 6), "float32")), "found .* float16"),
        ],
    )
    def test_a_changed_source(self, source: CheckpointSpec, why: str) -> None:
        with pytest.raises(UsageError, match=why):
            check_plan(self.plan, source)

    @pytest.mark.parametrize(
        ("target", "why"),
        [
            (spec("b.h5", t=((4, 6), "float32"), k=((2,), "int64")), r"steps\[1\] \(t1\): the plan is stale"),
            (spec("b.h5", t=((4, 6), "float32"), t1=((4, 6), "float64"), k=((2,), "int64")), "found .* float64"),
            (
                spec("b.h5", t=((4, 6), "float32"), t1=((4, 6), "float32"), k=((2,), "int64"), n=((2,), "int64")),
                "n: the plan says nothing of this variable",
            ),
            (
                spec("b.h5", t=((4, 6), "float32"), t1=((4, 6), "float32")),
                "k: the plan keeps a variable that is not there",
            ),
        ],
    )
    def test_a_changed_target(self, target: CheckpointSpec, why: str) -> None:
        with pytest.raises(UsageError, match=why):
            check_plan(self.plan, self.source, target)

    def test_a_changed_key(self) -> None:
        moved = replace(self.plan, steps=(replace(self.plan.steps[0], key="other"), self.plan.steps[1]))
        with pytest.raises(UsageError, match="expected other, found key/t"):
            check_plan(moved, self.source, self.target)


# ----------------------------------------------------------------------------------------------------------- the schema


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(ROOT, "docs", "plan.schema.json").read_text())
    return loaded


def test_the_schema_knows_the_keys_that_are_written() -> None:
    plan = plan_of(A)
    taken = Fingerprints({"a": "crc32:0a1b2c3d"}, {"t": "sample:00ff"})
    encoded = encode_plan(replace(plan, steps=(replace(plan.steps[0], copies=(B,)),), fingerprints=taken))
    described = schema()
    assert list(described["properties"]) == list(encoded)
    # A plan without fingerprints, open places or what was left out is one, too.
    assert described["required"] == list(encode_plan(plan))[:-2]
    assert list(described["properties"]["fingerprints"]["properties"]) == list(encoded["fingerprints"])
    assert list(described["$defs"]["step"]["properties"]) == list(encoded["steps"][0])
    assert list(described["$defs"]["kept"]["properties"]) == list(encoded["kept"][0])


def test_the_schema_knows_every_operation() -> None:
    samples: tuple[Op, ...] = (
        A, Fill(0.0, (1,), "float32"), Transpose(A, (1, 0)), Reshape(A, (24,)), Slice(A, 0, 0, 1), Concat((A,), 0),
        PermuteBlocks(A, 0, (1, 0)), AddToBlock(A, 0, 1, 0, 1.0), NegateBlock(A, 0, 1, 0), Sum((A,)),
        AddLowRank(A, A, A, 1.0), Template("t", (4, 6), "float32"), GatherRows(A, A, (0, None)), Cast(A, "float64"),
    )  # fmt: skip
    described = {tuple(item["required"]): list(item["properties"]) for item in schema()["$defs"]["op"]["oneOf"]}
    assert {tuple(encode_op(op)) for op in samples} == set(described)
    assert all(list(required) == properties for required, properties in described.items())
    assert [required[0] for required in described] == list(WORDS)


# ------------------------------------------------------------------------------------------------------------ by token


class TestGatherRows:
    ROWS = GatherRows(A, Template("kept", (3, 6), "float32"), (2, None, 0))

    def test_rows_that_have_a_source_move_and_the_others_are_the_template_s(self) -> None:
        held = {"kept": np.full((3, 6), -1, "float32")}
        made = evaluate(self.ROWS, values(A).__getitem__, held.__getitem__)
        wanted = np.stack([values(A)["a"][2], held["kept"][1], values(A)["a"][0]])
        np.testing.assert_array_equal(made, wanted)
        assert held["kept"].max() == -1  # the template's own value is not written into

    def test_it_is_written_down_and_read_back(self) -> None:
        plan = plan_of(self.ROWS)
        assert parse_plan(json.dumps(encode_plan(plan))) == plan

    def test_only_the_source_is_read(self) -> None:
        assert reads(self.ROWS) == ("a",)

    @pytest.mark.parametrize(
        ("op", "problem"),
        [
            (GatherRows(A, A, (0,)), "1 rows where the base has 4"),
            (GatherRows(A, A, (0, 1, 2, 4)), "not one of 4"),
            (GatherRows(A, Fill(0.0, (4, 5), "float32"), (0, 1, 2, 3)), "one shape and dtype"),
            (GatherRows(A, Fill(0.0, (4, 6), "float64"), (0, 1, 2, 3)), "one shape and dtype"),
            (GatherRows(Fill(0.0, (), "float32"), A, (0, 1, 2, 3)), "no rows"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, op: Op, problem: str) -> None:
        with pytest.raises(UsageError, match=problem):
            infer_spec(op)

    def test_a_template_that_is_not_so_is_stale(self) -> None:
        variable = Variable("t", "key/t", (), "", None, "weight", None, (3, 6), "float32", 72)
        kept = replace(variable, name="kept", key="key/kept")
        source = CheckpointSpec("a", "npz", None, "natural", (), (replace(variable, name="a", shape=(4, 6)),))
        target = CheckpointSpec("b", "npz", None, "natural", (), (variable, replace(kept, shape=(2, 6))))
        plan = plan_of(self.ROWS, kept=(Kept("kept", "key/kept", "weight"),))
        with pytest.raises(UsageError, match="template kept: the plan is stale"):
            check_plan(plan, source, target)
        check_plan(plan, source, replace(target, variables=(variable, kept)))

    def test_the_inverse_puts_rows_back_where_all_of_them_went_somewhere(self) -> None:
        op = GatherRows(A, Fill(9.0, (5, 6), "float32"), (3, None, 0, 2, 1))
        (step,) = inverse(plan_of(op), {"a": "key/a"}).steps
        made = {"t": evaluate(op, values(A).__getitem__)}
        np.testing.assert_array_equal(evaluate(step.op, made.__getitem__), values(A)["a"])
        with pytest.raises(UnsupportedError, match="rows that went nowhere"):
            inverse(plan_of(self.ROWS), {"a": "key/a"})
