"""Search by content, then matching by value, then the diff of what was matched."""

from __future__ import annotations

import numpy as np
import pytest

from ckptkit.compare import Tolerance
from ckptkit.differences import Diff, diff_checkpoints, search_contents
from ckptkit.errors import ChecksumError
from ckptkit.matching.value import match_by_value
from ckptkit.model import Checkpoint
from tests.diff.checkpoints import checkpoint, dense

UNKNOWN = "the same elements, in an order that no known change of layout gives"


def by_value(a: Checkpoint, b: Checkpoint) -> Diff:
    contents = search_contents(a, b, list(a), list(b))
    match = match_by_value(a.spec, b.spec, contents.prints_a, contents.prints_b, proven=contents.proven)
    return diff_checkpoints(a, b, match, tolerance=Tolerance(), known=contents.proven)


def renamed(values: dict[str, np.ndarray], reverse: bool = True) -> dict[str, np.ndarray]:
    items = list(values.items())
    return {f"net/u{number}/w": value for number, (_, value) in enumerate(items[::-1] if reverse else items)}


@pytest.mark.parametrize("size", [4, 80])
def test_renamed_contents_are_found(size: int) -> None:
    values = dense(1, size=size)
    found = by_value(checkpoint(values), checkpoint(renamed(values)))
    assert found.verdict == "identical"
    names = list(values)
    assert [(pair.a_name, pair.b_name) for pair in found.pairs] == [
        (name, f"net/u{number}/w") for number, name in enumerate(names[::-1])
    ]


def test_large_tensors_that_are_renamed_are_read_once() -> None:
    values = dense(1, size=80)
    kernels = {name: value for name, value in values.items() if name.endswith("kernel")}
    a, b = checkpoint(kernels), checkpoint(renamed(kernels))
    assert by_value(a, b).totals.identical == 3
    assert len(a.source.streamed) == len(b.source.streamed) == 3


def test_constants_that_cannot_be_told_apart_are_ambiguous_and_equal() -> None:
    a = checkpoint({"x/b": np.zeros(5000, np.float32), "y/b": np.zeros(5000, np.float32), "x/g": np.ones(3)})
    found = by_value(a, checkpoint(renamed({name: a[name].read() for name in a})))
    assert [len(group.source) for group in found.ambiguous] == [2]
    assert found.ambiguous[0].equal
    assert (found.verdict, found.totals.pairs) == ("identical", 1)


def test_twins_are_ambiguous_also_when_large() -> None:
    kernel = np.random.default_rng(0).standard_normal((80, 80), dtype=np.float32)
    a = checkpoint({"x/k": kernel, "y/k": kernel})
    found = by_value(a, checkpoint({"u/k": kernel, "v/k": kernel}))
    assert (found.totals.pairs, found.ambiguous[0].source, found.verdict) == (0, ("x/k", "y/k"), "identical")


def test_look_alikes_that_differ_in_the_middle_are_not_paired() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 100, 100))
    b[:10], b[-10:], b[45:55] = a[:10], a[-10:], a[45:55]
    found = by_value(checkpoint({"x/k": a}), checkpoint({"y/k": b}))
    assert (found.totals.pairs, found.totals.only_a, found.totals.only_b) == (0, 1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda k: k.T.copy(), "a: transposed"),
        (
            lambda k: np.concatenate([k[:, 12:24], k[:, :12], k[:, 24:]], axis=1),
            "a: 3 blocks of axis 1 in the order 1 0 2",
        ),
        (lambda k: k.reshape(1, 1, 10, 36), "a: axes of size 1 added"),
        (
            lambda k: k.reshape(-1)[::-1].reshape(10, 36).copy(),
            UNKNOWN,
        ),
    ],
)
def test_the_change_of_layout_is_established_and_said(change, words: str) -> None:
    kernel = np.random.default_rng(0).standard_normal((10, 36))
    found = by_value(checkpoint({"x/kernel": kernel}), checkpoint({"y/w": change(kernel)}))
    pair = found.pairs[0]
    assert pair.note == words
    assert pair.status == ("identical" if words.startswith("a:") else "different")


GATES = [slice(256, 512), slice(0, 256), slice(512, 768), slice(768, 1024)]

LARGE = {
    "a: transposed": lambda k: k.T.copy(),
    "a: reshaped to [512, 10240]": lambda k: k.reshape(512, 10240),
    "a: 4 blocks of axis 1 in the order 1 0 2 3": lambda k: np.concatenate([k[:, part] for part in GATES], axis=1),
    "a: 2 blocks of axis 0 in the order 1 0": lambda k: np.concatenate([k[2560:], k[:2560]]),
    "a: transposed, 2 blocks of axis 1 in the order 1 0": lambda k: np.concatenate([k[2560:], k[:2560]]).T.copy(),
    UNKNOWN: lambda k: k[::-1].copy(),
}


@pytest.mark.parametrize("words", LARGE)
def test_large_matrices_are_turned_in_slabs(words: str) -> None:
    kernel = np.arange(5120 * 1024, dtype=np.float32).reshape(5120, 1024)
    found = by_value(checkpoint({"x/kernel": kernel}), checkpoint({"y/w": LARGE[words](kernel)}))
    assert found.pairs[0].note == words
    assert found.verdict == ("identical" if words.startswith("a:") else "different")


def test_joined_and_split_kernels() -> None:
    rng = np.random.default_rng(0)
    kernel, recurrent = rng.standard_normal((5, 12)), rng.standard_normal((3, 12))
    parts = {"lstm/kernel": kernel, "lstm/recurrent_kernel": recurrent}
    joined = {"cell/w": np.concatenate([kernel, recurrent])}
    found = by_value(checkpoint(parts), checkpoint(joined))
    assert (found.pairs[0].a_name, found.pairs[0].note) == (
        "lstm/kernel + lstm/recurrent_kernel",
        "a: 2 parts joined along axis 0",
    )
    back = by_value(checkpoint(joined), checkpoint(parts))
    assert (back.verdict, back.pairs[0].note) == ("identical", "a is b: 2 parts joined along axis 0")
    assert back.to_json()["pairs"][0]["b"] == "lstm.kernel + lstm.recurrent_kernel"


def test_strings_in_another_order_are_paired_and_different() -> None:
    names = np.array([b"alpha", b"beta", b"gamma", b"delta"], dtype=object)
    found = by_value(checkpoint({"x/names": names}), checkpoint({"y/names": names[::-1]}))
    assert (found.pairs[0].status, found.pairs[0].note) == ("different", UNKNOWN)
    assert by_value(checkpoint({"x/names": names}), checkpoint({"y/names": names})).verdict == "identical"


@pytest.mark.parametrize("size", [4, 80])
def test_unverified_bytes_prove_nothing(size: int) -> None:
    values = dense(1, size=size)
    with pytest.raises(ChecksumError):
        by_value(checkpoint(values), checkpoint(renamed(values), damaged=("net/u3/w",)))
