"""From match to plan: every pair of rows there and back, refusals by name, what is filled, cast and kept."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckptkit
from ckptkit.conventions import ROWS, Row, by_id
from ckptkit.conventions.layout import parse_layout
from ckptkit.errors import RefusedError
from ckptkit.execute import evaluate
from ckptkit.matching.result import Ambiguous, Candidate, Match, Pair, Unmatched
from ckptkit.model import CheckpointSpec, Variable
from ckptkit.planner import make_plan
from ckptkit.plans import AddToBlock, Concat, Fill, PermuteBlocks, Plan, Read, Slice, Transpose
from tests.conventions.layers import DIMS, Made, dims_of, make_layer, move
from tests.inverse import inverse

LOSING = [row for row in ROWS if row.lost]


def of_one_kind() -> list[tuple[Row, Row]]:
    """Every (source, target) whose weights mean the same."""
    kinds: dict[object, list[Row]] = defaultdict(list)
    for row in ROWS:
        if not row.lost:
            own = "Einsum" in row.kind or "unshared" in row.name or "no bias" in row.name
            shape = row.name.partition("(")[2] if own else ""
            kinds[row.kind, row.options, shape].append(row)
    return [pair for rows in kinds.values() for pair in itertools.product(rows, rows)]


def has_sum(row: Row) -> bool:
    """Whether the dialect stores a part as a sum of several, so that which term had what is not kept."""
    held: list[tuple[str, str]] = []
    for native in row.natives:
        for place, role in enumerate(native.roles):
            axes = parse_layout(native.layout).axes
            pieces = [axis.pieces[place if len(axis.pieces) > 1 else 0] for axis in axes if axis.pieces]
            letters = [gate.letter for piece in pieces for gate in piece.gates]
            held += [(role, letter) for letter in letters or [""]]
    return len(held) > len(set(held)) or any("+" in role for role, _ in held)


def both(a: Row, b: Row, **options: object) -> tuple[Made, Made]:
    dims = dims_of(b, dims_of(a))
    return make_layer(a, dims=dims, **options), make_layer(b, dims=dims, seed=9)


def plan_of(a: Made, b: Made, pair: Pair | None = None, **options: bool) -> Plan:
    pair = pair or Pair(a.names, b.names, ("shape",), (a.form, b.form))
    return make_plan(Match("auto", (pair,)), a.spec, b.spec, **options)


def test_there_and_back_is_the_identity() -> None:
    done = 0
    for row_a, row_b in of_one_kind():
        if row_a is not row_b and (has_sum(row_a) or has_sum(row_b)):
            continue
        a, b = both(row_a, row_b)
        _, values = move(a, b)
        _, back = move(make_layer(row_b, dims=b.form.dims, values=values), a)
        for suffix, value in a.values.items():
            # A forget bias added and taken away again rounds in the last place.
            np.testing.assert_allclose(
                back[suffix], value, rtol=0, atol=1e-6, err_msg=f"{row_a.id} {row_b.id} {suffix}"
            )
        done += 1
    assert done > 800


def test_inverse_of_a_plan_gives_the_source_back() -> None:
    for row_a, row_b in of_one_kind():
        if row_a is not row_b and (has_sum(row_a) or has_sum(row_b)):
            continue
        a, b = both(row_a, row_b)
        plan, values = move(a, b)
        back = inverse(plan, {variable.name: variable.key for variable in a.spec.variables})
        held = {f"layer/{suffix}": value for suffix, value in values.items()}
        for step in back.steps:
            found = evaluate(step.op, held.__getitem__)
            np.testing.assert_allclose(found, a.values[step.target.name.removeprefix("layer/")], rtol=0, atol=1e-6)
        assert {step.target.name for step in back.steps} == set(a.names)


@settings(max_examples=60, deadline=None)
@given(
    pair=st.sampled_from([pair for pair in of_one_kind() if not (has_sum(pair[0]) or has_sum(pair[1]))]),
    sizes=st.lists(st.integers(1, 5), min_size=len(DIMS), max_size=len(DIMS)),
    forget_bias=st.sampled_from([0.0, 1.0, -2.5]),
)
def test_any_sizes_go_there_and_back(pair: tuple[Row, Row], sizes: list[int], forget_bias: float) -> None:
    dims = dims_of(pair[1], dims_of(pair[0], dict(zip(DIMS, sizes, strict=True))))
    a = make_layer(pair[0], dims=dims, forget_bias=forget_bias)
    b = make_layer(pair[1], dims=dims, seed=9)
    _, values = move(a, b)
    _, back = move(make_layer(pair[1], dims=dims, values=values), a)
    for suffix, value in a.values.items():
        np.testing.assert_allclose(back[suffix], value, rtol=0, atol=1e-6)


def test_equal_layouts_are_bare_reads() -> None:
    plan = plan_of(*both(by_id("tf_layers/conv2d"), by_id("keras3/Conv2D")))
    assert [step.op for step in plan.steps] == [
        Read("layer/kernel", (2, 3, 5, 7), "float32"),
        Read("layer/bias", (7,), "float32"),
    ]
    assert all(not step.doubts for step in plan.steps)


def test_a_cell_of_tensorflow_1_becomes_keras() -> None:
    plan = plan_of(*both(by_id("rnn_cell/BasicLSTMCell"), by_id("keras3/LSTM")))
    joined = Read("layer/kernel", (16, 44), "float32")
    assert [step.op for step in plan.steps] == [
        PermuteBlocks(Slice(joined, 0, 0, 5), 1, (0, 2, 1, 3)),
        PermuteBlocks(Slice(joined, 0, 5, 16), 1, (0, 2, 1, 3)),
        AddToBlock(PermuteBlocks(Read("layer/bias", (44,), "float32"), 0, (0, 2, 1, 3)), 0, 4, 1, 1.0),
    ]
    assert plan.steps[2].doubts == ("assumes forget_bias=1.0",)
    assert plan.steps[0].evidence == ("shape", "rnn_cell/BasicLSTMCell → keras3/LSTM")


def test_theano_kernels_are_transposed() -> None:
    plan = plan_of(*both(by_id("keras1/Convolution2D(th)"), by_id("keras3/Conv2D")))
    assert plan.steps[0].op == Transpose(Read("layer/W", (7, 5, 2, 3), "float32"), (2, 3, 1, 0))


@pytest.mark.parametrize("row", LOSING, ids=lambda row: row.id)
def test_what_keras_has_no_place_for_is_refused_by_name(row: Row) -> None:
    a = make_layer(row, dims={**DIMS, "P": 11})
    b = make_layer(by_id(f"keras3/{row.kind}"), dims={**DIMS, "P": 11}, seed=9)
    with pytest.raises(RefusedError) as error:
        plan_of(a, b)
    assert row.lost in str(error.value)
    extra = [native.suffix for native in row.natives if native.roles[0] not in ("kernel", "recurrent_kernel", "bias")]
    assert all(suffix in str(error.value) for suffix in extra)
    same = plan_of(a, replace_seed(row))
    assert [step.op for step in same.steps] == [
        Read(variable.name, variable.shape, variable.dtype) for variable in a.spec.variables
    ]


def replace_seed(row: Row) -> Made:
    return make_layer(row, dims={**DIMS, "P": 11}, seed=9)


def test_peepholes_cannot_be_made_up() -> None:
    with pytest.raises(RefusedError, match="holds nothing for it"):
        plan_of(*both(by_id("keras3/LSTM"), by_id("rnn_cell/LSTMCell(peepholes)")))


def test_different_maths_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="computes reset_after=False, the target reset_after=True"):
        plan_of(*both(by_id("rnn_cell/GRUCell"), by_id("keras3/GRU")))


def test_other_kinds_are_refused() -> None:
    with pytest.raises(RefusedError, match="different kinds"):
        plan_of(*both(by_id("keras3/Dense"), by_id("keras3/LSTM")))


def test_a_missing_scale_is_one_and_a_missing_centre_nothing() -> None:
    a = make_layer(by_id("slim/BatchNorm"), absent=("gamma", "beta"))
    b = make_layer(by_id("keras3/BatchNormalization"), seed=9)
    plan = plan_of(a, b)
    assert [step.op for step in plan.steps[:2]] == [Fill(1.0, (17,), "float32"), Fill(0.0, (17,), "float32")]
    assert plan.steps[0].doubts == ("the source has no gamma: filled with its neutral value",)


def test_a_bias_without_a_place_is_refused_or_left_behind() -> None:
    a = make_layer(by_id("keras3/Dense"))
    b = make_layer(by_id("keras2/Dense"), absent=("bias",), seed=9)
    with pytest.raises(RefusedError, match="layer/bias would be lost"):
        plan_of(a, b)
    assert plan_of(a, b, allow_unexpected=True).unexpected == ("layer/bias",)


def test_a_forget_bias_without_a_bias_to_hold_it_is_refused() -> None:
    a = make_layer(by_id("rnn_cell/ConvLSTMCell(2d)"), absent=("biases",))
    b = make_layer(by_id("keras3/ConvLSTM2D"), absent=("bias",), seed=9)
    with pytest.raises(RefusedError, match=r"adds \+1 to the forget gate"):
        plan_of(a, b)
    with_bias = plan_of(a, make_layer(by_id("keras3/ConvLSTM2D"), seed=9))
    assert with_bias.steps[2].op == AddToBlock(Fill(0.0, (28,), "float32"), 0, 4, 1, 1.0)


def test_two_biases_are_added_and_split_again() -> None:
    keras, sonnet = by_id("keras3/SimpleRNN"), by_id("sonnet1/VanillaRNN")
    a, b = both(sonnet, keras)
    _, values = move(a, b)
    np.testing.assert_allclose(values["bias"], a.values["in_to_hidden/b"] + a.values["hidden_to_hidden/b"])
    _, back = move(b, a)
    np.testing.assert_array_equal(back["in_to_hidden/b"], b.values["bias"])
    assert not back["hidden_to_hidden/b"].any()


def test_a_cast_that_rounds_is_said() -> None:
    a = make_layer(by_id("keras3/Dense"), dtype="float32")
    half = make_layer(by_id("keras3/Dense"), dtype="float16", seed=9)
    double = make_layer(by_id("keras3/Dense"), dtype="float64", seed=9)
    assert plan_of(a, half).steps[0].doubts == ("cast from float32 to float16, which rounds",)
    assert plan_of(a, double).steps[0].doubts == ()


def test_parts_of_several_dtypes_meet_in_the_targets() -> None:
    a = make_layer(by_id("keras3/LSTM"))
    kernel = a.spec.variables[0]
    mixed = replace(a.spec, variables=(replace(kernel, dtype="float16"), *a.spec.variables[1:]))
    b = make_layer(by_id("rnn_cell/LSTMCell"), seed=9)
    plan = plan_of(replace(a, spec=mixed), b)
    assert isinstance(plan.steps[0].op, Concat)


def test_copies_become_expressions_over_the_other_variables() -> None:
    a = make_layer(by_id("rnn_cell/LSTMCell"), name="x")
    twin = make_layer(by_id("rnn_cell/LSTMCell"), name="y")
    b = make_layer(by_id("keras3/LSTM"), seed=9)
    source = replace(a.spec, layers=a.spec.layers + twin.spec.layers, variables=a.spec.variables + twin.spec.variables)
    pair = Pair(a.names, b.names, ("order",), (a.form, b.form), copies=(twin.names,))
    plan = plan_of(replace(a, spec=source), b, pair)
    read = Read("y/bias", (44,), "float32")
    assert plan.steps[2].copies == (AddToBlock(PermuteBlocks(read, 0, (0, 2, 1, 3)), 0, 4, 1, 1.0),)


def test_copies_follow_their_own_variables_when_orders_differ() -> None:
    slim, keras = by_id("slim/LayerNorm"), by_id("slim/GroupNorm")  # one order of variables, two rows
    a, twin, b = make_layer(slim, name="x"), make_layer(slim, name="y"), make_layer(keras, seed=9)
    source = replace(a.spec, variables=a.spec.variables + twin.spec.variables)
    backwards = a.names[::-1]
    pair = Pair(backwards, b.names, (), (a.form, replace(b.form, kind=a.form.kind)), copies=(twin.names[::-1],))
    plan = plan_of(replace(a, spec=source), b, pair)
    assert {step.target.name: (step.op, *step.copies) for step in plan.steps} == {
        f"layer/{name}": (Read(f"x/{name}", (17,), "float32"), Read(f"y/{name}", (17,), "float32"))
        for name in ("beta", "gamma")
    }


def spec_of(path: str, **shapes: tuple[int, ...]) -> CheckpointSpec:
    variables = tuple(
        Variable(name, f"key/{name}", (), "", None, "slot" if "slot" in name else "weight", None, shape, "float32", 0)
        for name, shape in shapes.items()
    )
    return CheckpointSpec(path, "npz", None, "stored", (), variables)


class TestLeftovers:
    source = spec_of("old.h5", cls=(128, 10), w=(3, 4))
    target = spec_of("new.h5", head=(128, 3), w=(3, 4), slot_m=(3, 4))
    pairs = (Pair(("w",), ("w",), ("name",)),)

    def plan(self, **options: bool) -> Plan:
        missing = (Unmatched("head", (Candidate("cls", "another shape"),)),)
        unexpected = (Unmatched("cls", (Candidate("head", "another shape"),)),)
        match = Match("scope", self.pairs, missing, unexpected, order_sources=("stored", "config"))
        return make_plan(match, self.source, self.target, **options)

    def test_missing_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(RefusedError) as error:
            self.plan()
        assert str(error.value) == (
            "new.h5 wants 1 variable that old.h5 has no weight for; old.h5 has 1 variable that new.h5 has no place for. "
            "--allow-missing leaves what is missing as it is, --allow-unexpected leaves behind what has "
            "no place.\n"
            "  missing: head [128, 3] (nearest: cls [128, 10], another shape)\n"
            "  unexpected: cls [128, 10] (nearest: head [128, 3], another shape)"
        )

    def test_unexpected_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(
            RefusedError, match=r"old.h5 has cls \[128, 10\] \(nearest: head \[128, 3\], another shape\)"
        ):
            self.plan(allow_missing=True)

    def test_what_is_allowed_is_kept_and_said(self) -> None:
        plan = self.plan(allow_missing=True, allow_unexpected=True)
        assert [step.target.name for step in plan.steps] == ["w"]
        assert [(kept.target, kept.why) for kept in plan.kept] == [
            ("head", "the source has no weight for it"),
            ("slot_m", "slot of the template"),
        ]
        assert (plan.missing, plan.unexpected, plan.order_source) == (("head",), ("cls",), ("stored", "config"))

    def test_ambiguity_is_always_refused(self) -> None:
        match = Match("auto", self.pairs, ambiguous=(Ambiguous(("cls",), ("head",), "two equal blocks"),))
        with pytest.raises(RefusedError, match="fits in more than one way"):
            make_plan(match, self.source, self.target, allow_missing=True, allow_unexpected=True)

    @pytest.mark.parametrize(("format_", "hint"), [("npz", None), ("tensor-bundle", "lists and dicts")])
    def test_a_side_without_weights_is_refused_as_such(self, format_: str, hint: str | None) -> None:
        empty = replace(spec_of("empty", slot_m=(3, 4)), format=format_)
        into = Match("auto", (), unexpected=(Unmatched("cls"), Unmatched("w")))
        out_of = Match("auto", (), missing=(Unmatched("head"), Unmatched("w")))
        for match, source, target in ((into, self.source, empty), (out_of, empty, self.target)):
            with pytest.raises(RefusedError, match="^empty holds no weights") as error:
                make_plan(match, source, target)
            assert (hint is None) == (error.value.hint is None)
            assert hint is None or hint in str(error.value)
            assert error.value.groups

    def test_many_are_counted(self) -> None:
        missing = tuple(Unmatched(f"w{number}") for number in range(9))
        with pytest.raises(RefusedError, match="wants 9 variables") as error:
            make_plan(Match("auto", (), missing), self.source, self.target)
        assert error.value.lines[0] == "missing: w0"
        assert error.value.lines[5:] == ("… and 4 more; --json, --html and --plan-out have all of them",)
        assert len(error.value.groups) == 9

    def test_without_a_convention_shapes_must_agree(self) -> None:
        with pytest.raises(RefusedError, match="cls has another shape"):
            make_plan(Match("auto", (Pair(("cls",), ("head",), ()),)), self.source, self.target)
        with pytest.raises(RefusedError, match="no convention that joins them"):
            make_plan(Match("auto", (Pair(("cls", "w"), ("head",), ()),)), self.source, self.target)

    def test_what_is_lost_is_named(self) -> None:
        cell = make_layer(by_id("rnn_cell/LSTMCell(peepholes)"))
        match = Match("auto", (), unexpected=tuple(Unmatched(name) for name in cell.names))
        with pytest.raises(RefusedError, match="it would lose peephole connections"):
            make_plan(match, cell.spec, self.target)


@pytest.mark.parametrize(("channels", "says"), [((4, 4), True), ((4, 5), False)])
def test_how_the_kernel_of_a_transposed_convolution_lies_is_no_silent_guess(
    tmp_path: Path, channels: tuple[int, int], says: bool
) -> None:
    shapes = {"kernel": (3, 3, *channels), "bias": (channels[0],)}
    for file, layer in (("keras", "conv2d_transpose"), ("nnx", "up"), ("again", "conv2d_transpose")):
        np.savez(tmp_path / f"{file}.npz", **{f"{layer}/{word}": np.ones(shape) for word, shape in shapes.items()})
    for source, target in (("keras", "nnx"), ("nnx", "keras")):
        plan = ckptkit.plan(tmp_path / f"{source}.npz", like=tmp_path / f"{target}.npz").plan
        said = [doubt for step in plan.steps for doubt in step.doubts if "up/kernel lies as Keras's" in doubt]
        assert len(said) == says, (source, target)
    plan = ckptkit.plan(tmp_path / "keras.npz", like=tmp_path / "again.npz").plan
    assert not any(step.doubts for step in plan.steps)
