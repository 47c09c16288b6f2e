from __future__ import annotations

from collections import Counter
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.matching import align as module
from ckptkit.matching.align import align, essential


def common_to_all(x: tuple[int, ...], y: tuple[int, ...]) -> set[tuple[int, int]]:
    """The matches that every longest common subsequence has, by trying them all."""

    @cache
    def best(i: int, j: int) -> tuple[int, frozenset[frozenset[tuple[int, int]]]]:
        if i == len(x) or j == len(y):
            return 0, frozenset([frozenset()])
        options = [best(i + 1, j), best(i, j + 1)]
        if x[i] == y[j]:
            length, alignments = best(i + 1, j + 1)
            options.append((length + 1, frozenset(one | {(i, j)} for one in alignments)))
        longest = max(length for length, _ in options)
        return longest, frozenset().union(*[found for length, found in options if length == longest])

    return set(frozenset.intersection(*best(0, 0)[1]))


sequences = st.lists(st.integers(0, 3), max_size=7).map(tuple)


@given(sequences, sequences)
@settings(max_examples=400, deadline=None)
def test_pairs_are_exactly_what_all_best_alignments_share(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    # Classes of one side only cost nothing in an alignment, whatever stands beside them.
    assert set(align(x, y).pairs) == common_to_all(x, y)


@given(sequences, sequences)
def test_every_element_is_in_one_place_and_only_with_its_class(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    found = align(x, y)
    edges = found.pairs + found.moved
    assert all(x[i] == y[j] for i, j in edges)
    for side, own in ((0, x), (1, y)):
        used = Counter([edge[side] for edge in edges] + [index for tie in found.ties for index in tie[side]])
        assert all(count == 1 for count in used.values())
        assert set(used) <= set(range(len(own)))
    for group_a, group_b in found.ties:
        assert len({x[i] for i in group_a} | {y[j] for j in group_b}) == 1
        assert len(group_a) + len(group_b) > 2


@given(st.lists(st.integers(0, 4), max_size=30))
def test_equal_sequences_are_paired_element_by_element(x: list[int]) -> None:
    assert align(x, x).pairs == [(i, i) for i in range(len(x))]


def test_an_insertion_makes_a_gap_and_not_a_shift() -> None:
    assert align([1, 2, 3, 2, 4], [1, 9, 2, 3, 2, 4]).pairs == [(0, 0), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_which_of_equal_elements_is_new_is_a_tie() -> None:
    found = align([1, 7, 7, 2], [1, 7, 7, 7, 2])
    assert found.pairs == [(0, 0), (3, 4)]
    assert found.ties == [([1, 2], [1, 2, 3])]


def test_only_the_stretch_with_the_insertion_is_a_tie() -> None:
    found = align([7, 1, 7, 2, 7], [7, 1, 7, 7, 2, 7])
    assert found.pairs == [(0, 0), (1, 1), (3, 4), (4, 5)]
    assert found.ties == [([2], [2, 3])]


def test_neighbours_that_changed_places_have_moved() -> None:
    found = align([1, 2, 3, 4], [1, 3, 2, 4])
    assert found.pairs == [(0, 0), (3, 3)]
    assert sorted(found.moved) == [(1, 2), (2, 1)]


def test_equal_elements_of_branches_that_changed_places_are_a_tie() -> None:
    # Branches (7, 1) and (7, 2): by rank, each 7 would get the other branch's.
    found = align([7, 1, 7, 2], [7, 2, 7, 1])
    assert found.ties == [([0, 2], [0, 2])]


def test_a_dropped_first_and_a_new_last_are_not_paired_by_rank() -> None:
    # Two 7s on both sides, yet the 5s say that the first is gone and the last is new.
    found = align([7, 5, 5, 7], [5, 5, 7, 7])
    assert (0, 2) not in found.pairs
    assert found.ties or found.pairs == [(1, 0), (2, 1)]


def test_fixed_pairs_cut_the_sequences() -> None:
    assert align([7, 7, 7], [7, 7, 7, 7], [(1, 2)]).ties == [([0], [0, 1])]
    assert align([7, 7, 7], [7, 7, 7, 7], [(1, 2)]).pairs == [(2, 3)]


def test_negative_classes_take_no_part() -> None:
    assert align([-1, 3, -1], [-1, -1, 3]).pairs == [(1, 2)]


def test_essential_leaves_out_what_crosses() -> None:
    assert essential([(0, 0), (1, 2), (2, 1), (3, 3)]) == [(0, 0), (3, 3)]
    assert essential([(0, 9), (1, 1), (2, 2)]) == [(1, 1), (2, 2)]
    assert essential([]) == []


def test_stretches_that_are_too_different_are_cut_at_unique_elements(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MIN_CELLS", 0)
    monkeypatch.setattr(module, "_CELLS_PER_ELEMENT", 0)
    found = align([7, 7, 1, 8, 2, 7], [7, 1, 8, 8, 2, 7])
    assert found.pairs == [(2, 1), (4, 4), (5, 5)]
    assert found.ties == [([3], [2, 3])] or found.ties == [([0, 1], [0]), ([3], [2, 3])] or len(found.ties) == 2


def test_without_unique_elements_what_is_too_different_is_a_tie(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MIN_CELLS", 0)
    monkeypatch.setattr(module, "_CELLS_PER_ELEMENT", 0)
    found = align([7, 8, 7, 8], [8, 7, 8, 7, 7])
    assert found.pairs == []
    assert sorted(found.ties) == [([0, 2], [1, 3, 4]), ([1, 3], [0, 2])]
