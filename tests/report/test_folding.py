"""Blocks that are alike are told once, and nothing that differs is."""

from __future__ import annotations

from ckptkit.report.folding import Alike, Row, fold
from ckptkit.report.grounds import ground, tally


def rows(blocks: range, shift: int, words: tuple[str, ...] = ("q", "k")) -> list[Row]:
    return [Row(f"t/block_{i}/{w}/w", f"s/layer_{i + shift}/{w}/w", "order") for i in blocks for w in words]


def test_the_first_block_is_shown_and_the_rest_counted() -> None:
    assert list(fold(rows(range(24), 1))) == [0, 1, Alike(24, "0…23", "1…24")]


def test_what_stands_around_stays() -> None:
    around = [Row("embed/w", "table/w", "name"), *rows(range(3), 0), Row("head/w", "cls/w", "name")]
    assert list(fold(around)) == [0, 1, 2, Alike(3, "0…2", "0…2"), 7]


def test_two_blocks_are_not_folded() -> None:
    assert list(fold(rows(range(2), 0))) == [0, 1, 2, 3]


def test_a_block_that_differs_keeps_its_row() -> None:
    found = rows(range(6), 0, ("q",))
    found[3] = Row(found[3].target, found[3].source, "shape")
    assert 3 in list(fold(found))
    crossed = [Row(f"t_{i}", f"s_{j}", "order") for i, j in enumerate((0, 2, 1, 3))]
    assert list(fold(crossed)) == [0, 1, 2, 3]


def test_the_number_of_a_kind_is_no_block() -> None:
    found = [Row(f"conv2d_{i}/kernel", f"Conv2d_{i}/w", "order") for i in range(4)]
    assert list(fold(found)) == [0, Alike(4, "0…3", "0…3")]


def test_what_pairs_rest_on_is_counted_in_words() -> None:
    evidence = [("words: fc = dense", "order"), ("numbers: 0 = 1",), ("order of counters",), ("by hand",), ("map",), ()]
    assert tally(evidence) == "2 by words and numbers, 1 by order, 1 by hand, 1 by --map"
    assert [ground(each) for each in evidence] == ["words", "words", "order", "by hand", "map", "other"]
