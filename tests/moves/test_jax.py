"""Whole networks between Keras, Sonnet, linen, NNX and Haiku, every ordered pair by default options."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the frameworks are an extra")
pytest.importorskip("sonnet", reason="the frameworks are an extra")
pytest.importorskip("jax", reason="the frameworks are an extra")
pytest.importorskip("haiku", reason="the frameworks are an extra")
pytest.importorskip("flax", reason="the frameworks are an extra")

from ckptkit import remap
from ckptkit.errors import RefusedError
from tests.moves.jax_networks import NETWORKS, SHAPES, Network
from tests.moves.proof import assert_agree, assert_differ

pytestmark = pytest.mark.jax

PAIRS = list(itertools.permutations(NETWORKS, 2))

# GRUs whose reset gate comes after the recurrent product, and those that have no bias inside of it.
RESET_AFTER = ("linen", "nnx")


def move(source: Network, target: Network, folder: Path) -> None:
    """Random values on both sides; the target then computes what the source does."""
    source.randomise(1), target.randomise(2)
    old = source.save(source.values, folder / "old")
    template = target.save(target.values, folder / "template")
    output = folder / ("output" + "".join(template.suffixes))
    remap(old, template, output)
    target.values = target.load(output)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
@pytest.mark.parametrize("kind", [kind for kind in SHAPES if kind != "gru"])
def test_outputs_are_the_sources(kind: str, a: str, b: str, tmp_path: Path) -> None:
    source, target = NETWORKS[a](kind), NETWORKS[b](kind)
    x = np.random.default_rng(5).normal(size=(3, *SHAPES[kind])).astype(np.float32)
    source.randomise(1), target.randomise(2)
    expected = source.run(x)
    assert_differ(target.run(x), expected)
    move(source, target, tmp_path)
    assert_agree(target.run(x), expected)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_a_gru_moves_where_both_compute_the_same(a: str, b: str, tmp_path: Path) -> None:
    source, target = NETWORKS[a]("gru"), NETWORKS[b]("gru")
    x = np.random.default_rng(5).normal(size=(3, *SHAPES["gru"])).astype(np.float32)
    if (a in RESET_AFTER) != (b in RESET_AFTER):
        with pytest.raises(RefusedError, match="computes reset_after"):
            move(source, target, tmp_path)
    elif (a, b) == ("linen", "nnx"):
        with pytest.raises(
            RefusedError, match="the recurrent bias of gate n in GRUCell_0/recurrent_bias would be lost"
        ):
            move(source, target, tmp_path)
    else:
        move(source, target, tmp_path)
        source.randomise(1)
        assert_agree(target.run(x), source.run(x))
