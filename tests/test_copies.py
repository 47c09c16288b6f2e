"""A source that holds one network several times is known as such, and blocks of one network are not."""

from __future__ import annotations

from ckptkit.matching.result import Match, Pair, Unmatched
from ckptkit.planner.copies import Copies, copies_of, mixed_copies
from tests.matching.specs import dense, spec

NET = {"fc1": (4, 5), "fc2": (5, 6)}
ACTORS = spec(*[dense(f"{scope}/{name}", *size) for scope in ("pi", "oldpi") for name, size in NET.items()])
ONE = spec(*[dense(name, *size) for name, size in NET.items()])
SHAPES = [variable.shape for variable in ONE.variables]


def test_scopes_of_equal_shapes_are_copies() -> None:
    assert copies_of(ACTORS) == [("pi", "oldpi")]
    assert copies_of(ONE) == []


def test_candidates_lie_among_them() -> None:
    copies = Copies(ACTORS, SHAPES)
    assert copies.between(["pi/fc1/kernel", "oldpi/fc1/kernel"]) == ("pi", "oldpi")
    assert copies.between(["pi/fc1/kernel"]) == ()
    assert copies.between(["pi/fc1/kernel", "oldpi/fc1/kernel", "other/kernel"]) == ()


def test_blocks_of_one_network_are_no_copies_that_could_be_meant() -> None:
    names = [f"block_{i}/{name}" for i in range(3) for name in ("query", "key")]
    blocks = spec(*[dense(name, 4, 4) for name in names])
    wanted = [variable.shape for variable in blocks.variables]
    assert Copies(blocks, wanted).between([v.name for v in blocks.variables]) == ()


def test_pairs_of_both_are_mixed() -> None:
    def match(*sources: str) -> Match:
        rest = [v.name for v in ACTORS.variables if v.name not in sources]
        pairs = tuple(Pair((name,), (name.partition("/")[2],), ("order",)) for name in sources)
        return Match("auto", pairs, unexpected=tuple(Unmatched(name) for name in rest))

    both = match("pi/fc1/kernel", "pi/fc1/bias", "oldpi/fc2/kernel", "oldpi/fc2/bias")
    assert mixed_copies(both, ACTORS, ONE) == ("pi", "oldpi")
    assert mixed_copies(both, ACTORS, ACTORS) == ()
    assert mixed_copies(match(*[v.name for v in ACTORS.variables[:4]]), ACTORS, ONE) == ()
