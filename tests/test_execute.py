"""A planned source: bytes under the target's keys, bare reads streamed through, inputs let go after their last use."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ckptkit.errors import FormatError, NotFoundError, RefusedError
from ckptkit.execute import PlannedSource, evaluate
from ckptkit.model import CHUNK_BYTES, Checkpoint, CheckpointSpec, Variable
from ckptkit.plans import (
    AddToBlock,
    Cast,
    Concat,
    Fill,
    Kept,
    NegateBlock,
    Op,
    PermuteBlocks,
    Plan,
    Read,
    Slice,
    Step,
    Sum,
    infer_spec,
)
from tests.arrays import canonical_name
from tests.conventions.layers import MemorySource


def checkpoint(**arrays: np.ndarray) -> Checkpoint:
    variables = tuple(
        Variable(name, f"key/{name}", (), "", None, "weight", None, value.shape, canonical_name(value.dtype), 0)
        for name, value in arrays.items()
    )
    source = MemorySource({f"key/{name}": value for name, value in arrays.items()})
    return Checkpoint(CheckpointSpec("memory", "npz", None, "stored", (), variables), source)


def read(name: str, value: np.ndarray) -> Read:
    return Read(name, value.shape, canonical_name(value.dtype))


def plan_of(kept: tuple[Kept, ...] = (), copies: tuple[Op, ...] = (), **ops: Op) -> Plan:
    steps = tuple(
        Step(replace(infer_spec(op), name=name), f"native/{name}", op, copies=copies) for name, op in ops.items()
    )
    return Plan("a", "b", "auto", None, steps, kept)


def streamed(source: PlannedSource, key: str, dtype: Any, size: int = 16) -> np.ndarray:
    pieces = [bytes(piece) for piece in source.stream(key, memoryview(bytearray(size)))]
    assert all(len(piece) <= size for piece in pieces)
    return np.frombuffer(b"".join(pieces), dtype=dtype)


A = np.arange(24, dtype=np.float32).reshape(4, 6)
B = A + 100


def test_every_tensor_under_the_targets_key() -> None:
    joined = Concat((PermuteBlocks(read("a", A), 1, (1, 0)), read("b", B)), 0)
    source = PlannedSource(plan_of(same=read("a", A), joined=joined), checkpoint(a=A, b=B))
    np.testing.assert_array_equal(streamed(source, "native/same", "<f4"), A.reshape(-1))
    wanted = np.concatenate([np.concatenate([A[:, 3:], A[:, :3]], axis=1), B])
    np.testing.assert_array_equal(streamed(source, "native/joined", "<f4"), wanted.reshape(-1))


@pytest.mark.parametrize("size", [1, 7, 16, 10_000])
def test_any_buffer_gives_the_same_bytes(size: int) -> None:
    source = PlannedSource(plan_of(t=NegateBlock(read("a", A), 0, 2, 1)), checkpoint(a=A))
    wanted = np.concatenate([A[:2], -A[2:]])
    np.testing.assert_array_equal(streamed(source, "native/t", "<f4", size), wanted.reshape(-1))


def test_ranges_of_a_made_tensor() -> None:
    source = PlannedSource(plan_of(t=AddToBlock(read("a", A), 1, 3, 2, 0.5)), checkpoint(a=A))
    wanted = A.copy()
    wanted[:, 4:] += 0.5
    buffer = bytearray(8)
    source.read_into("native/t", 12, memoryview(buffer))
    assert bytes(buffer) == wanted.tobytes()[12:20]
    with pytest.raises(FormatError, match="not within the tensor"):
        source.read_into("native/t", 92, memoryview(buffer))
    source.close()
    source.read_into("native/t", 0, memoryview(buffer))
    assert bytes(buffer) == wanted.tobytes()[:8]


def test_a_bare_read_is_never_held() -> None:
    class Streaming(MemorySource):
        def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
            raise AssertionError("not streamed")

    opened = checkpoint(a=A)
    through = Checkpoint(opened.spec, Streaming({"key/a": A}))
    source = PlannedSource(plan_of(t=read("a", A)), through)
    np.testing.assert_array_equal(streamed(source, "native/t", "<f4"), A.reshape(-1))


def test_inputs_are_loaded_once_and_let_go_after_their_last_use() -> None:
    loaded: list[str] = []
    held: dict[str, int] = {}

    class Watched(np.ndarray):
        def __del__(self) -> None:
            held["now"] -= 1

    def load(name: str) -> np.ndarray:
        loaded.append(name)
        held["now"] = held.get("now", 0) + 1
        held["most"] = max(held.get("most", 0), held["now"])
        return np.full((2,), ord(name), np.float32).view(Watched)

    names = "abcdef"
    parts = [Cast(Read(name, (2,), "float32"), "float64") for name in names]
    twice = [Cast(Read("a", (2,), "float32"), "float64"), Cast(Read("a", (2,), "float32"), "float64")]
    result = evaluate(Concat((*twice, *parts[1:]), 0), load)
    assert loaded == list(names)
    assert held["most"] <= 3, "an input outlived its last use"
    assert np.asarray(result).tolist() == [float(ord(name)) for name in "aabcdef" for _ in range(2)]


def test_constants_sums_and_casts() -> None:
    op = Cast(Sum((read("a", A), Fill(0.5, A.shape, "float32"))), "float16")
    source = PlannedSource(plan_of(t=op), checkpoint(a=A))
    np.testing.assert_array_equal(streamed(source, "native/t", "<f2"), (A + 0.5).reshape(-1).astype(np.float16))


def test_sources_are_not_changed_by_what_is_made_of_them() -> None:
    before = A.copy()
    held: Mapping[str, np.ndarray] = {"a": A}
    evaluate(AddToBlock(NegateBlock(Sum((read("a", A), read("a", A))), 0, 2, 0), 0, 2, 0, 1.0), held.__getitem__)
    evaluate(AddToBlock(Slice(read("a", A), 0, 0, 2), 0, 2, 0, 1.0), held.__getitem__)
    np.testing.assert_array_equal(A, before)


def test_bfloat16_keeps_its_bytes() -> None:
    import ml_dtypes

    value = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16)
    source = PlannedSource(plan_of(t=Cast(Read("a", (6,), "bfloat16"), "float32")), checkpoint(a=value))
    assert streamed(source, "native/t", "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_kept_variables_come_from_the_template() -> None:
    plan = plan_of(kept=(Kept("k", "key/k", "state"),), t=read("a", A))
    template = checkpoint(k=B)
    source = PlannedSource(plan, checkpoint(a=A), template)
    np.testing.assert_array_equal(streamed(source, "key/k", "<f4"), B.reshape(-1))
    with pytest.raises(NotFoundError, match="gives no value"):
        PlannedSource(plan, checkpoint(a=A)).read_into("key/k", 0, memoryview(bytearray(4)))
    with pytest.raises(FormatError, match="strings"):
        PlannedSource(plan_of(t=Slice(read("a", A), 0, 0, 1)), checkpoint(a=A)).read_strings("native/t")


class TestCopies:
    def source(self, other: np.ndarray, op: Op | None = None, copy: Op | None = None) -> PlannedSource:
        plan = plan_of(copies=(copy or read("b", other),), t=op or read("a", A))
        return PlannedSource(plan, checkpoint(a=A, b=other))

    def test_equal_ones_pass(self) -> None:
        np.testing.assert_array_equal(streamed(self.source(A.copy()), "native/t", "<f4"), A.reshape(-1))

    def test_the_difference_is_shown_before_any_byte(self) -> None:
        other = A.copy()
        other[3, 5] += 0.25
        pieces = self.source(other).stream("native/t", memoryview(bytearray(16)))
        with pytest.raises(RefusedError, match=r"a and b are to feed one variable and differ by up to 0\.25"):
            next(pieces)

    def test_of_made_tensors_too(self) -> None:
        made = NegateBlock(read("a", A), 0, 1, 0), NegateBlock(read("b", B), 0, 1, 0)
        with pytest.raises(RefusedError, match="by up to 100"):
            list(self.source(B, *made).stream("native/t", memoryview(bytearray(16))))

    def test_not_a_number_on_one_side_is_a_difference(self) -> None:
        other = A.copy()
        other[0, 0] = np.nan
        with pytest.raises(RefusedError, match="by up to inf"):
            list(self.source(other).stream("native/t", memoryview(bytearray(16))))

    def test_the_sign_of_zero_is_none(self) -> None:
        other = A.copy()
        other[0, 0] = -0.0
        assert len(streamed(self.source(other), "native/t", "<f4")) == 24

    def test_in_pieces(self) -> None:
        long = np.zeros(CHUNK_BYTES // 4 + 5, np.float32)
        other = long.copy()
        other[-1] = 2
        source = PlannedSource(plan_of(copies=(read("b", long),), t=read("a", long)), checkpoint(a=long, b=other))
        with pytest.raises(RefusedError, match="by up to 2"):
            list(source.stream("native/t", memoryview(bytearray(1 << 20))))


def test_several_threads_may_read() -> None:
    source = PlannedSource(
        plan_of(t=NegateBlock(read("a", A), 0, 1, 0), u=NegateBlock(read("b", B), 0, 1, 0)), checkpoint(a=A, b=B)
    )
    wrong: list[str] = []

    def work(key: str, wanted: np.ndarray) -> None:
        for _ in range(50):
            buffer = bytearray(96)
            source.read_into(key, 0, memoryview(buffer))
            if bytes(buffer) != wanted.tobytes():
                wrong.append(key)

    threads = [threading.Thread(target=work, args=args) for args in (("native/t", -A), ("native/u", -B)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_block_that_does_not_lie_in_one_piece_is_negated() -> None:
    """NumPy 2.4.6 gets `np.negative(x, out=x)` wrong for such a block."""
    value = np.arange(1, 17, dtype="float32").reshape(4, 4, 1)
    made = evaluate(NegateBlock(Read("x", (4, 4, 1), "float32"), 1, 4, 0), {"x": value}.__getitem__)
    assert made[:, 0, 0].tolist() == [-1, -5, -9, -13]
    assert np.array_equal(made[:, 1:], value[:, 1:])
