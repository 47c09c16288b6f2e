from __future__ import annotations

import pytest

from ckptkit.matching.paths import parse_path, without_common_prefixes


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("dense_1", ("dense_1",)),
        ("decoder/decoder/cell", ("decoder",)),
        ("rnn/multi_rnn_cell/cell_0/basic_lstm_cell", ("cell_0",)),
        ("lstm_1/lstm_1/lstm_cell_1", ("lstm_1",)),
        ("layer_with_weights-3", ()),
        ("_layer_checkpoint_dependencies\\dense/vars", ("dense",)),
        ("net/dense/.ATTRIBUTES/VARIABLE_VALUE", ("net", "dense")),
        ("embedding/part_0", ("embedding",)),
        ("InceptionV3/Conv2d_1a_3x3", ("inceptionv3", "conv2d_1a_3x3")),
        ("w:0", ("w",)),
        ("", ()),
    ],
)
def test_what_carries_no_meaning_is_left_out(path: str, words: tuple[str, ...]) -> None:
    assert parse_path(path).words == words


@pytest.mark.parametrize(
    ("path", "kind", "automatic"),
    [
        ("dense", None, True),
        ("model/dense_12", None, True),
        ("dense_a", None, False),
        ("dense1", None, False),
        ("fc_1", None, False),
        ("my_layer_2", "MyLayer", True),
        ("batch_normalization_3", None, True),
        ("0", None, True),
        ("encoder", "GRU", False),
    ],
)
def test_automatic_names_are_told_from_given_ones(path: str, kind: str | None, automatic: bool) -> None:
    assert parse_path(path, kind).automatic is automatic


@pytest.mark.parametrize(
    ("path", "direction"),
    [
        ("bidirectional/forward_lstm", "forward"),
        ("bidirectional/backward_lstm_1", "backward"),
        ("bidirectional_rnn/fw/lstm_cell", "forward"),
        ("rnn/bw/gru_cell", "backward"),
        ("feed_forward_x/dense_a", ""),
    ],
)
def test_direction(path: str, direction: str) -> None:
    assert parse_path(path).direction == direction


def test_counters_stand_beside_their_bases() -> None:
    path = parse_path("sequential_2/dense_10")
    assert path.bases == ("sequential", "dense")
    assert path.counters == (2, 10)


def words(*names: str, other: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found, _ = without_common_prefixes([parse_path(name) for name in names], [parse_path(name) for name in other])
    return [path.words for path in found]


def test_the_common_prefix_is_taken_off_and_the_last_word_stays() -> None:
    assert words("train/net/a", "train/net/b/c", "train/net") == [("net", "a"), ("net", "b", "c"), ("net",)]
    assert words("train/net/a", "train/net/b/c") == [("a",), ("b", "c")]
    assert words("x/y") == [("y",)]
    assert words() == []


def test_a_path_that_names_nothing_does_not_keep_the_prefix() -> None:
    assert words("layer_with_weights-0", "net/a", "net/b") == [(), ("a",), ("b",)]


def test_a_prefix_that_tells_scopes_of_the_other_side_apart_stays() -> None:
    other = ("gan/generator/conv", "gan/discriminator/conv")
    assert words("net/generator/conv", "net/generator/out", other=other) == [
        ("generator", "conv"),
        ("generator", "out"),
    ]
    assert words("generator/conv", "generator/out", other=("generator/conv", "generator/x")) == [("conv",), ("out",)]
