"""What a diff says of two checkpoints whose variables are paired by name."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ckptkit.compare import Tolerance
from ckptkit.differences import Counterpart, Diff, diff_checkpoints
from ckptkit.engines import Threads
from ckptkit.errors import ChecksumError, FormatError
from ckptkit.matching.result import Ambiguous, Match, Pair
from ckptkit.model import Checkpoint, Form
from tests.compare.memory_source import MemorySource
from tests.diff.checkpoints import by_name, checkpoint, dense


def diff(a: Checkpoint, b: Checkpoint, match: Match | None = None, **options: object) -> Diff:
    settings = {"tolerance": Tolerance(), **options}
    return diff_checkpoints(a, b, match or by_name(a, b), **settings)  # type: ignore[arg-type]


def test_a_checkpoint_is_identical_to_itself() -> None:
    a = checkpoint({**dense(1), "two/nan": np.array([np.nan, -0.0, np.inf]), "names": np.array([b"x", b""], object)})
    found = diff(a, a)
    assert found.verdict == "identical"
    assert {pair.status for pair in found.pairs} == {"identical"}
    assert found.totals.identical == found.totals.pairs == len(a)
    assert {layer.change for layer in found.layers} == {0.0}
    assert (found.swaps, found.only_a, found.only_b, found.ambiguous) == ((), (), (), ())


def test_the_layers_that_moved_are_named_with_how_much() -> None:
    before = dense(1)
    after = {name: value.copy() for name, value in before.items()}
    after["two/kernel"][1, 3] += 0.5
    after["two/bias"] += np.float32(1e-3)
    found = diff(checkpoint(after), checkpoint(before))
    assert found.verdict == "different"
    assert [layer.verdict for layer in found.layers] == ["identical", "different", "identical"]
    moved = found.layers[1]
    assert (moved.a, moved.b, moved.worst, moved.variables) == ("two", "two", "two/kernel", 2)
    assert moved.max_abs == pytest.approx(0.5)
    both = [
        np.concatenate([side[f"two/{role}"].reshape(-1) for role in ("kernel", "bias")]) for side in (after, before)
    ]
    wanted = np.linalg.norm(both[0].astype(float) - both[1]) / np.linalg.norm(both[1].astype(float))
    assert moved.change == pytest.approx(wanted)
    assert next(pair for pair in found.pairs if pair.b_name == "two/kernel").max_index == (1, 3)


def test_within_tolerance_is_a_verdict_of_its_own() -> None:
    before = dense(1)
    after = {name: value * np.float32(1 + 1e-5) for name, value in before.items()}
    a, b = checkpoint(after), checkpoint(before)
    assert diff(a, b, tolerance=Tolerance(rtol=1e-4)).verdict == "within"
    assert diff(a, b, tolerance=Tolerance(rtol=1e-6)).verdict == "different"


def test_b_is_the_reference() -> None:
    a, b = checkpoint({"x/w": np.array([1.0])}), checkpoint({"x/w": np.array([2.0])})
    assert diff(a, b).pairs[0].statistics.max_rel == 0.5
    assert diff(b, a).pairs[0].statistics.max_rel == 1.0


def test_other_shapes_and_dtypes() -> None:
    a = checkpoint({"x/w": np.ones((2, 4), np.float32), "y/w": np.ones(3, np.float16), "z/w": np.ones(3, np.float16)})
    b = checkpoint({"x/w": np.ones((3, 2), np.float32), "y/w": np.ones(3, np.float64), "z/w": np.zeros(3, np.float64)})
    found = diff(a, b)
    assert [(pair.status, pair.verdict) for pair in found.pairs] == [
        ("shape", "different"),
        ("dtype", "within"),
        ("dtype", "different"),
    ]
    assert found.layers[0].change is None
    assert (found.totals.shape, found.totals.dtype, found.verdict) == (1, 2, "different")


@pytest.mark.parametrize("side", ["a", "b"])
def test_what_only_one_side_has_makes_a_difference(side: str) -> None:
    more, less = checkpoint(dense(1)), checkpoint(dense(1, ("one", "two")))
    found = diff(more, less) if side == "a" else diff(less, more)
    assert found.verdict == "different"
    only = found.only_a if side == "a" else found.only_b
    assert [each.name for each in only] == ["three/kernel", "three/bias"]


def test_slots_and_state_are_compared_and_count_only_when_asked_for() -> None:
    kinds = {"optimizer/m": "slot", "step": "state"}
    a = checkpoint({**dense(1), "optimizer/m": np.ones(3), "step": np.array(5)}, kinds=kinds)
    b = checkpoint({**dense(1), "optimizer/m": np.zeros(3)}, kinds=kinds)
    found = diff(a, b)
    assert (found.verdict, len(found.layers)) == ("identical", 3)
    assert found.pairs[-1].status == "different"
    assert diff(a, b, slots=True).verdict == "different"


@pytest.mark.parametrize("count", [1, 2])
def test_a_damaged_tensor_ends_the_diff(count: int) -> None:
    a = checkpoint(dense(1), damaged=("two/kernel",)[:count])
    with pytest.raises(ChecksumError, match=r"two\.kernel"):
        diff(a, checkpoint(dense(1)), engine=Threads(count))


def test_an_unreadable_tensor_is_named_before_anything_is_read() -> None:
    a = checkpoint(dense(1), path="a.h5", problems={"three/bias": "shard 2 of 2 is missing"})
    b = checkpoint(dense(1))
    with pytest.raises(FormatError, match=r"a\.h5: three\.bias: shard 2 of 2 is missing"):
        diff(a, b)
    assert b.source.streamed == []


def test_each_file_is_read_once() -> None:
    a, b = checkpoint(dense(1)), checkpoint(dense(2))
    diff(a, b)
    assert sorted(a.source.streamed) == sorted(variable.key for variable in a.spec.variables)
    assert sorted(b.source.streamed) == sorted(variable.key for variable in b.spec.variables)


def test_converted_sides_are_compared_in_place_of_the_stored_ones() -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    a = checkpoint({"c/kernel": kernel.T.copy(), "c/bias": np.ones(3)})
    b = checkpoint({"d/kernel": kernel, "d/bias": np.ones(3)})
    source = MemorySource({"turned": kernel.T.copy().T, "same": np.ones(3)})
    converted = {
        "d/kernel": Counterpart(source.spec("turned"), source, ("c/kernel",), "th kernels transposed"),
        "d/bias": Counterpart(source.spec("same"), source, ("c/bias",), "as it is"),
    }
    forms = Form("keras1/Dense", "Dense", ()), Form("keras3/Dense", "Dense", ())
    match = Match("scope", (Pair(("c/kernel", "c/bias"), ("d/kernel", "d/bias"), ("scope",), forms),))
    found = diff(a, b, match, converted=converted)
    assert found.verdict == "identical"
    assert [(pair.a_name, pair.b_name, pair.note) for pair in found.pairs] == [
        ("c/kernel", "d/kernel", "th kernels transposed"),
        ("c/bias", "d/bias", "as it is"),
    ]


def test_copies_of_shared_weights_are_compared_too() -> None:
    a = checkpoint({"x/w": np.ones(3), "y/w": np.array([1.0, 1.0, 2.0])})
    b = checkpoint({"z/w": np.ones(3)})
    found = diff(a, b, Match("scope", (Pair(("x/w",), ("z/w",), ("scope",), copies=(("y/w",),)),)))
    assert [(pair.a_name, pair.status) for pair in found.pairs] == [("x/w", "identical"), ("y/w", "different")]
    assert found.pairs[1].note == "copy 2 of the same weights in a"


def test_what_needs_no_conversion_is_compared_by_role() -> None:
    arrays = {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(3), "scale": np.zeros(3)}
    a = checkpoint({f"c/{role}": arrays[role] for role in ("kernel", "bias", "scale")})
    b = checkpoint({f"d/{role}": arrays[role] for role in ("scale", "kernel", "bias")})
    names = ("kernel", "bias", "scale"), ("scale", "kernel", "bias")
    pair = Pair(tuple(f"c/{role}" for role in names[0]), tuple(f"d/{role}" for role in names[1]), ("scope",))
    source = MemorySource({"k": arrays["kernel"]})
    converted = {"d/kernel": Counterpart(source.spec("k"), source, ("c/kernel",), "turned")}
    for given in ({}, converted):
        found = diff(a, b, Match("scope", (pair,)), converted=given)
        assert sorted((each.a_name, each.b_name, each.status) for each in found.pairs) == [
            (f"c/{role}", f"d/{role}", "identical") for role in sorted(arrays)
        ]


@pytest.mark.parametrize(("last", "equal"), [(0.0, True), (1.0, False)])
def test_ambiguous_groups_of_equal_contents_make_no_difference(last: float, equal: bool) -> None:
    a = checkpoint({"x/b": np.zeros(3), "y/b": np.zeros(3)})
    b = checkpoint({"u/b": np.zeros(3), "v/b": np.full(3, last)})
    match = Match("value", (), ambiguous=(Ambiguous(("x/b", "y/b"), ("u/b", "v/b"), "equal contents"),))
    found = diff(a, b, match)
    assert found.ambiguous[0].equal is equal
    assert found.verdict == ("identical" if equal else "different")


def test_json_has_the_agreed_fields_and_no_nan() -> None:
    a = checkpoint({"x/w": np.array([[1.0, np.nan], [3.0, np.inf]]), "only/a": np.ones(2), "z/w": np.zeros(2)}, "a.h5")
    b = checkpoint({"x/w": np.array([[1.5, np.nan], [3.0, 4.0]]), "only/b": np.ones(2), "z/w": np.zeros(2)}, "b.h5")
    found = json.loads(json.dumps(diff(a, b).to_json(), allow_nan=False))
    assert next(iter(found)) == "schema"
    assert found["schema"] == "ckptkit.diff/1"
    assert {"a", "b", "by", "verdict", "pairs", "only_a", "only_b", "ambiguous", "totals"} <= found.keys()
    pair = found["pairs"][0]
    assert (pair["a"], pair["b"], pair["a_name"], pair["evidence"]) == ("x.w", "x.w", "x/w", ["name"])
    assert (pair["max_abs"], pair["max_index"], pair["mismatched"]) == (0.5, [0, 0], 2)
    assert (pair["nan_a"], pair["nan_b"], pair["inf_a"], pair["inf_b"]) == (1, 1, 1, 0)
    assert pair["max_rel"] == pytest.approx(1 / 3)
    assert pair["rms"] == pytest.approx(0.5 / math.sqrt(2))
    assert found["pairs"][1]["cosine"] is None
    assert [each["name"] for each in found["only_a"]] == ["only/a"]


def test_progress_tells_all_bytes() -> None:
    a, b = checkpoint(dense(1)), checkpoint(dense(2))
    told: list[int] = []
    diff(a, b, progress=told.append)
    assert sum(told) == 2 * sum(variable.nbytes for variable in a.spec.variables)
