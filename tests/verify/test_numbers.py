"""Comparison of outputs, noise floor and pairing of towers, without TensorFlow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ckptkit.errors import ModelError, UsageError
from ckptkit.inputs import parse_shape
from ckptkit.verification import Options, verify_runners
from ckptkit.verification.inputs import InputSpec, count_rows, make_inputs, read_inputs, shaped
from ckptkit.verification.numbers import FACTOR, compare_output, jittered, noise_floor
from ckptkit.verification.sharing import share_inputs
from ckptkit.verification.towers import pair_outputs


def compare(source: object, target: object, atol: float = 0.0, rtol: float = 0.0):
    return compare_output("y", np.asarray(source), np.asarray(target), floor=0.0, atol=atol, rtol=rtol)


def test_the_worst_element_is_named_and_the_source_is_the_reference() -> None:
    found = compare([[1.0, 2.0], [4.0, 8.0]], [[1.0, 2.5], [4.0, 8.25]], rtol=0.3)
    assert (found.max_abs, found.index, found.max_rel, found.passed) == (0.5, (0, 1), 0.25, True)
    assert math.isclose(found.rms, math.sqrt((0.25 + 0.0625) / 4))
    assert not compare([[1.0, 2.0]], [[1.0, 2.5]], rtol=0.2).passed


def test_nan_equals_nan_and_nothing_else() -> None:
    nan, inf = math.nan, math.inf
    assert compare([nan, inf, 1.0], [nan, inf, 1.0]).passed
    assert not compare([1.0, 2.0], [1.0, nan], atol=1e9).passed
    assert not compare([inf], [-inf], atol=1e9).passed


def test_other_shapes_fail_and_say_so() -> None:
    found = compare(np.zeros((2, 3)), np.zeros((2, 4)), atol=1.0)
    assert not found.passed
    assert "[2, 4], should be [2, 3]" in found.name


def test_empty_outputs_agree() -> None:
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))).passed


def test_jitter_moves_every_float_by_one_unit_in_the_last_place() -> None:
    values = np.linspace(-3, 3, 50, dtype=np.float32)
    moved, untouched = jittered([values, np.arange(3)], np.random.default_rng(0))
    assert np.array_equal(np.abs(moved - values), np.spacing(np.abs(values)))
    assert np.array_equal(untouched, np.arange(3))


def test_bfloat16_is_a_floating_type_like_others() -> None:
    """NumPy calls its kind `V`, as that of raw bytes."""
    import ml_dtypes

    values = np.array([[1.0, -2.0, 3.5]], ml_dtypes.bfloat16)
    moved = jittered([values], np.random.default_rng(0))[0]
    assert moved.dtype == values.dtype
    assert np.array_equal(np.abs((moved - values).astype("f4")), np.abs(np.spacing(values)).astype("f4"))
    assert noise_floor(lambda weights, inputs: [inputs[0]], [], [values], [values], seed=0) == [2.0**-6]
    above = (values.astype("f4") + 2.0**-6).astype(ml_dtypes.bfloat16)
    found = compare(values, above, atol=2.0**-5)
    assert found.passed
    assert found.max_abs == 2.0**-6
    assert not compare(values, above).passed


def test_the_floor_of_complex_outputs_counts_both_parts() -> None:
    outputs = iter([np.array([1 + 2j]), np.array([1 + 2.5j]), np.array([1 + 2j])])
    assert noise_floor(lambda weights, inputs: [next(outputs)], [], [], [np.array([1 + 2j])], seed=0) == [0.5]


def test_the_floor_is_what_jitter_changes_and_never_below_one_unit() -> None:
    weights = [np.float32([[3.0], [5.0]])]
    inputs = [np.float32([[1.0, 2.0]])]

    def run(w, x):
        return [x[0] @ w[0]]

    (floor,) = noise_floor(run, weights, inputs, run(weights, inputs), seed=0)
    bound = sum(abs(a) * np.spacing(np.float32(b)) + abs(b) * np.spacing(np.float32(a)) for a, b in ((1, 3), (2, 5)))
    assert np.spacing(np.float32(13)) <= floor <= bound + 2 * np.spacing(np.float32(13))
    (constant,) = noise_floor(lambda w, x: [np.float32([8.0])], weights, inputs, [np.float32([8.0])], seed=0)
    assert constant == np.spacing(np.float32(8.0))


def test_a_difference_of_three_in_ten_million_is_within_four_floors() -> None:
    generator = np.random.default_rng(3)
    w, x = generator.standard_normal((100, 7)).astype("f"), generator.standard_normal((9, 100)).astype("f")
    (floor,) = noise_floor(lambda v, y: [y[0] @ v[0]], [w], [x], [x @ w], seed=0)
    noisy = w * (1 + 3e-7 * generator.standard_normal(w.shape).astype("f"))
    assert np.abs(x @ noisy - x @ w).max() <= FACTOR * floor
    assert np.abs(x @ (w * np.float32(1.01)) - x @ w).max() > FACTOR * floor


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ([(8, 5)], [(8, 15)], [(0, None, 0, 0), (0, None, 0, 5), (0, None, 0, 10)]),
        ([(8, 15)], [(8, 5)], [(0, 0, 0, None), (0, 5, 0, None), (0, 10, 0, None)]),
        ([(8, 5)], [(8, 5), (8, 5)], [(0, None, 0, None), (0, None, 1, None)]),
        ([(8, 5), (8, 3)], [(8, 3), (8, 5)], [(0, None, 1, None), (1, None, 0, None)]),
        ([(8, 5), (8, 5)], [(8, 5), (8, 5)], [(0, None, 0, None), (1, None, 1, None)]),
    ],
)
def test_outputs_pair_whole_or_tower_by_tower(source, target, pairs) -> None:
    found = pair_outputs([np.zeros(shape) for shape in source], [np.zeros(shape) for shape in target])
    assert [(a.output, a.start, b.output, b.start) for a, b in found.pairs] == pairs


@pytest.mark.parametrize(
    ("source", "target"), [([(8, 5)], [(8, 7)]), ([(8, 5), (8, 5)], [(8, 5)] * 3), ([(8,)], [(9,)])]
)
def test_outputs_that_fit_in_no_way_are_refused(source, target) -> None:
    with pytest.raises(ModelError, match="outputs"):
        pair_outputs([np.zeros(shape) for shape in source], [np.zeros(shape) for shape in target])


def test_one_sample_goes_to_every_input() -> None:
    single, left, right = InputSpec("x", (None, 4), "float32"), *(InputSpec(n, (None, 4), "float32") for n in "lr")
    found = share_inputs([single], [left, right])
    assert (len(found.specs), found.source, found.target) == (1, (0,), (0, 0))
    assert "2 inputs" in found.note
    assert share_inputs([left, right], [single]).source == (0, 0)


def test_inputs_pair_by_name_then_by_position_then_by_shape() -> None:
    a, b = InputSpec("a", (None, 4), "float32"), InputSpec("b", (None, 6), "float32")
    assert share_inputs([a, b], [b, a]).target == (1, 0)
    c, d = InputSpec("c", (None, 6), "float32"), InputSpec("d", (None, 4), "float32")
    assert share_inputs([a, b], [c, d]).target == (1, 0)
    with pytest.raises(ModelError):
        share_inputs([a], [b])
    with pytest.raises(ModelError):
        share_inputs([a, a, a], [a, a])


def test_the_smaller_table_bounds_integers() -> None:
    a, b = InputSpec("a", (None,), "int32", 50), InputSpec("a", (3,), "int32", 20)
    (spec,) = share_inputs([a], [b]).specs
    assert (spec.limit, spec.shape) == (20, (3,))
    (made,) = make_inputs([spec], seed=1, batch=8)
    assert made.dtype == np.int32
    assert made.min() >= 0
    assert made.max() < 20


def test_inputs_are_seeded_and_of_the_right_kind() -> None:
    specs = [InputSpec("x", (None, 3), "float32"), InputSpec("m", (None,), "bool"), InputSpec("n", (None, 2), "int64")]
    first, second = make_inputs(specs, seed=5, batch=4), make_inputs(specs, seed=5, batch=4)
    assert [array.dtype.name for array in first] == ["float32", "bool", "int64"]
    assert all(np.array_equal(x, y) for x, y in zip(first, second, strict=True))
    assert not np.array_equal(first[0], make_inputs(specs, seed=6, batch=4)[0])


def test_texts_are_made_of_the_words_that_a_model_knows() -> None:
    (texts,) = make_inputs([InputSpec("t", (None, 3), "string", words=("cat", "sat"))], seed=0, batch=4)
    assert texts.shape == (4, 3)
    assert {word for text in texts.flat for word in text.split()} == {b"cat", b"sat"}
    assert make_inputs([InputSpec("t", (None,), "string")], seed=0, batch=2)[0].all()


def test_rows_of_a_ragged_input_are_divided_by_its_splits() -> None:
    specs = [InputSpec("x/values", (None, 2), "float32"), InputSpec("x/row_splits", (None,), "int64")]
    values, splits = make_inputs(specs, seed=0, batch=5)
    assert splits[0] == 0
    assert splits[-1] == len(values)
    assert (np.diff(splits) > 0).all()
    assert count_rows(specs, [values, splits]) == len(splits) - 1 == 5


def test_shapes_that_a_person_gives_must_fit() -> None:
    specs = (InputSpec("a", (None, None), "int32"), InputSpec("t", (None, 1), "string"))
    first, second = shaped(specs, [parse_shape("4,7:int32"), parse_shape("4,1:string")])
    assert (first.shape, second.shape) == ((4, 7), (4, 1))
    for given in (
        ["4,7:int32"],
        ["4,7:int32", "4,2:string"],
        ["4,7:int32", "4,1"],
        ["4,7:string", "4,1:string"],
        ["4,7", "4,1:string"],
    ):
        with pytest.raises(UsageError, match="input"):
            shaped(specs, [parse_shape(text) for text in given])


def test_inputs_from_a_file_must_fit(tmp_path) -> None:
    specs = (InputSpec("a", (None, 2), "float32"), InputSpec("b", (None, 3), "int32"))
    path = tmp_path / "x.npz"
    np.savez(path, b=np.arange(6).reshape(2, 3), a=np.ones((2, 2)))
    a, b = read_inputs(str(path), specs)
    assert (a.dtype.name, b.dtype.name, b.tolist()) == ("float32", "int32", [[0, 1, 2], [3, 4, 5]])
    np.savez(path, a=np.ones((2, 4)), b=np.arange(6).reshape(2, 3))
    with pytest.raises(UsageError, match="shape"):
        read_inputs(str(path), specs)
    np.savez(path, a=np.ones((2, 2)), b=np.ones((2, 3)))
    with pytest.raises(UsageError, match="dtype"):
        read_inputs(str(path), specs)
    np.savez(path, a=np.ones((2, 2)))
    with pytest.raises(UsageError, match="number"):
        read_inputs(str(path), specs)


ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


class Doubling:
    """A runner that doubles its only input, times a weight, and counts the rows that it is given."""

    name = "doubling"
    outputs = ("y",)
    loaded_by = "live"
    path = None

    def __init__(self, batch: int | None = None) -> None:
        self.inputs = (InputSpec("x", (batch, 3), "float32"),)
        self.rows: list[int] = []
        self.weight = np.float32([2.0])

    def live(self):
        return None

    def run(self, arrays, *, free=False):
        self.rows.append(len(arrays[0]))
        return [arrays[0] * self.weight]

    def draws(self, arrays):
        return ()

    def half_precision(self, arrays):
        return None

    def names(self):
        return ["w"]

    def weights(self):
        return [self.weight]

    def assign(self, values):
        (self.weight,) = values

    def gradients(self, arrays, factors):
        self.rows.append(-len(arrays[0]))
        return [np.abs((arrays[0] * factors[0]).sum(keepdims=True)[0])]


@pytest.mark.parametrize(
    ("options", "batch", "rows"),
    [
        (Options(batch=8), None, [8, 8, 8, 8, 8, 8]),
        (Options(batch=50), None, [50, 50, 8, 8, 8, 8, 8, 8]),
        (Options(batch=50), 50, [50, 50, 50, 50, 50, 50]),
        (Options(batch=50, devices=("TPU", "TPU")), None, [50, 50, 50, 50, 50, 50]),
        (Options(batch=50, arrays=(ROWS,)), None, [60, 60, 60, 60, 60]),
    ],
    ids=["few rows", "many rows", "a fixed batch", "compiled for each size", "given rows"],
)
def test_noise_and_coverage_are_measured_on_a_few_of_many_made_up_rows(
    options: Options, batch: int | None, rows: list[int]
) -> None:
    source, target = Doubling(batch), Doubling(batch)
    result = verify_runners(source, target, options)
    assert source.rows == rows
    # One backward pass of the destination; none of the source, whose weights are equal.
    assert [count for count in target.rows if count < 0] == [-rows[-1]]
    assert result.passed
    assert 0 < result.outputs[0].floor < 0.1
    assert source.weight.tolist() == [2.0]


def test_weights_are_as_they_were_when_measuring_the_noise_fails() -> None:
    class Failing(Doubling):
        def run(self, arrays, *, free=False):
            if self.weight[0] != 2.0:
                raise ModelError("no")
            return super().run(arrays)

    source = Failing()
    with pytest.raises(ModelError):
        verify_runners(source, Doubling(), Options())
    assert source.weight.tolist() == [2.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jitter_of_many_values_moves_each_by_one_unit_and_half_of_them_up(dtype) -> None:
    """Across the edges of blocks, and at powers of two, where the unit below is half of that above."""
    generator = np.random.default_rng(3)
    values = (generator.standard_normal(100_003) * 10.0 ** generator.integers(-20, 20, 100_003)).astype(dtype)
    values[::1000] = np.exp2(generator.integers(-60, 60, len(values[::1000]))).astype(dtype)
    first, second = (jittered([values], generator)[0] for _ in range(2))
    for moved in (first, second):
        units = (moved.astype("f8") - values) / np.spacing(values)
        assert set(units.tolist()) == {-1.0, 1.0}
        assert abs(np.mean(moved > values) - 0.5) < 0.02
    assert 0.4 < np.mean(first == second) < 0.6
    zero = jittered([np.zeros(5, dtype)], generator)[0]
    assert np.abs(zero).max() <= np.spacing(np.zeros(1, dtype))[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_jitter_into_the_memory_of_an_earlier_one_is_what_it_is_without(dtype) -> None:
    values = np.random.default_rng(1).standard_normal((50, 401)).astype(dtype)
    given = [values, np.arange(3), values[:0], values[0, 0].reshape(())]
    before = [value.copy() for value in given]
    generators = [np.random.default_rng(0) for _ in range(2)]
    first, again = (jittered(given, generator) for generator in generators)
    fresh, reused = jittered(given, generators[0]), jittered(given, generators[1], into=again)
    for now, old, same, kept in zip(reused, fresh, given, before, strict=True):
        assert now.shape == old.shape
        assert np.array_equal(now, old)
        assert np.array_equal(same, kept)
    assert not np.array_equal(first[0], reused[0])
    assert np.shares_memory(again[0], reused[0]) == (dtype != "float16")


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_the_cosine_of_two_outputs_is_that_of_all_their_elements(kind) -> None:
    generator = np.random.default_rng(0)
    a, b = ((generator.standard_normal((2, 3, 5)) + 1j * generator.standard_normal((2, 3, 5))) for _ in range(2))
    a, b = (part if kind == "complex128" else part.real for part in (a, b))
    expected = np.vdot(a, b).real / (np.linalg.norm(a) * np.linalg.norm(b))
    assert compare(a, b).cosine == pytest.approx(expected, rel=1e-12)
    assert compare(a, np.zeros_like(b)).cosine is None
    assert compare(a, np.full_like(b, np.nan)).cosine is None
