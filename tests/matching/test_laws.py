"""Laws that hold for every pair of checkpoints and every method."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.matching import match
from tests.matching.specs import accounted, batch_norm, dense, layer, spec, variable

METHODS = ("auto", "name", "order", "scope")
ORDERS = ("stored", "natural", "sorted", "object-graph")

words = st.sampled_from(
    ["dense", "dense_1", "dense_2", "fc_1", "fc_2", "alpha", "beta", "x/dense_a", "y/dense_a", "net/beta"]
)
sizes = st.tuples(st.integers(2, 3), st.integers(2, 3))


@st.composite
def specs(draw):
    names = draw(st.lists(words, unique=True, max_size=7))
    layers = []
    for name in names:
        kind = draw(st.sampled_from(["dense", "bare", "norm", "norm without gamma", "unknown", "int8"]))
        inputs, units = draw(sizes)
        if kind == "unknown":
            layers.append(layer(name, None, [("u", (inputs, units)), ("v", (units,))]))
        elif kind.startswith("norm"):
            layers.append(batch_norm(name, units, gamma=kind == "norm"))
        else:
            layers.append(
                dense(name, inputs, units, bias=kind != "bare", dtype="int8" if kind == "int8" else "float32")
            )
    loose = [variable(f"loose_{i}", (2,)) for i in range(draw(st.integers(0, 2)))]
    return spec(*layers, order=draw(st.sampled_from(ORDERS)), loose=loose)


@pytest.mark.parametrize("by", METHODS)
@given(a=specs(), b=specs())
@settings(max_examples=150, deadline=None)
def test_every_weight_is_accounted_for_once(by, a, b) -> None:
    accounted(match(a, b, by=by), a, b)


@pytest.mark.parametrize("by", METHODS)
@given(a=specs(), b=specs())
@settings(max_examples=150, deadline=None)
def test_what_is_paired_fits(by, a, b) -> None:
    shapes_a = {v.name: v.shape for v in a.variables}
    shapes_b = {v.name: v.shape for v in b.variables}
    for pair in match(a, b, by=by).pairs:
        assert pair.target
        assert pair.evidence
        if by != "name" and pair.source:
            assert [shapes_a[n] for n in pair.source] == [shapes_b[n] for n in pair.target]
            words = {n.rpartition("/")[2] for n in (*pair.source, *pair.target)}
            assert len(words) == 1 or "loose" in pair.target[0] + pair.source[0]


@pytest.mark.parametrize("by", METHODS)
@given(a=specs())
@settings(max_examples=150, deadline=None)
def test_a_checkpoint_matches_itself_with_nothing_wrong(by, a) -> None:
    found = match(a, a, by=by)
    assert all(pair.source == pair.target for pair in found.pairs)
    if by in ("auto", "name"):
        assert found.complete
    elif by == "order" and a.order_source in ("stored", "object-graph"):
        assert found.complete


@pytest.mark.parametrize("by", ["auto", "order", "scope"])
@given(a=specs(), b=specs())
@settings(max_examples=150, deadline=None)
def test_fan_out_covers_every_target_once(by, a, b) -> None:
    found = match(a, b, by=by, fan_out=True)
    target = [n for p in found.pairs for n in p.target] + [u.name for u in found.missing]
    target += [n for g in found.ambiguous for n in g.target]
    assert sorted(target) == sorted(v.name for v in b.variables)
    source = {n for p in found.pairs for group in (p.source, *p.copies) for n in group}
    rest = [u.name for u in found.unexpected] + [n for g in found.ambiguous for n in g.source]
    assert not source & set(rest)
    assert sorted(source | set(rest)) == sorted(v.name for v in a.variables)


@given(st.permutations(range(6)), st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_permuted_equal_layers_are_never_paired_wrongly(permutation, seed) -> None:
    """Layers keep their names when they change places: a pair is right, or nothing is paired."""
    names = ["stem", "query", "key", "value", "gate", "out"]
    random.Random(seed).shuffle(names)
    a = spec(*[dense(f"net/{name}", 4, 4) for name in names])
    b = spec(*[dense(f"model/{names[i]}", 4, 4) for i in permutation])
    for by in ("auto", "order", "scope"):
        found = match(a, b, by=by)
        accounted(found, a, b)
        for pair in found.pairs:
            assert pair.source[0].removeprefix("net/") == pair.target[0].removeprefix("model/"), (by, pair)
    assert match(a, b, by="scope").complete
    assert match(a, b, by="auto").complete


@given(st.permutations(range(5)))
@settings(max_examples=100, deadline=None)
def test_permuted_layers_without_a_name_are_paired_right_by_what_tells_them_apart(permutation) -> None:
    a = spec(*[dense(f"a{i}", 4, 5 + i) for i in range(5)])
    b = spec(*[dense(f"b{i}", 4, 5 + i) for i in permutation])
    found = match(a, b, by="order")
    assert found.complete
    assert all(pair.source[0][1] == pair.target[0][1] for pair in found.pairs)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.data())
@settings(max_examples=200, deadline=None)
def test_dropped_layers_never_shift_the_others_silently(kinds, data) -> None:
    """Whatever is dropped, a pair by order is one that every best alignment has: brute force over all of them."""
    kept = data.draw(st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds)))
    places = [i for i, keep in enumerate(kept) if keep]
    a = spec(*[dense(f"a{i}", 4, 5 + kind) for i, kind in enumerate(kinds)])
    b = spec(*[dense(f"b{i}", 4, 5 + kinds[i]) for i in places])
    chains = _embeddings(kinds, [kinds[i] for i in places])
    for pair in match(a, b, by="order").pairs:
        i, j = int(pair.source[0][1:].partition("/")[0]), int(pair.target[0][1:].partition("/")[0])
        assert all(chain[places.index(j)] == i for chain in chains)


def _embeddings(kinds, wanted):
    """All ways in which `wanted` is a subsequence of `kinds`: the best alignments, as nothing was added."""
    chains = [()]
    for kind in wanted:
        chains = [(*c, i) for c in chains for i in range(c[-1] + 1 if c else 0, len(kinds)) if kinds[i] == kind]
    return chains
