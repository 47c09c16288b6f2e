"""The traps, a function for each kind."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.matching.networks import families
from tests.matching.networks.families import Network, Ops, Part, Path, without
from tests.matching.networks.naming import Naming
from tests.matching.traps.trap import PLAIN, REFUSED, RIGHT, SAFE, TRAPS, Trap, Writing, traps


def chain(count: int, word: str = "hidden", size: int = 6) -> Network:
    """Dense layers of equal shape."""
    parts = tuple(Part((word, i), "dense", (size, size)) for i in range(count))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = xs[0]
        for part in parts:
            x = ops(part.path, x)
        return [x]

    return Network("chain", parts, ((size,),), wire)


def with_heads(*names: str) -> Network:
    """A trunk of two layers, and a head of equal shape for each name."""
    trunk = [Part(("trunk", i), "dense", (6, 6)) for i in range(2)]
    ends = [Part(("head", name), "dense", (6, 3)) for name in names]

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        x = ops(("trunk", 1), ops(("trunk", 0), xs[0]))
        return [ops(part.path, x) for part in ends]

    return Network("heads", (*trunk, *ends), ((6,),), wire)


def two_towers(depth: int, names: tuple[str, ...] = ("query", "passage")) -> Network:
    parts = [Part((name, "fc", i), "dense", (6, 6)) for name in names for i in range(depth)]
    parts.append(Part(("merge",), "dense", (6 * len(names), 3)))

    def wire(ops: Ops, xs: Sequence[Any]) -> list[Any]:
        ends = []
        for name, x in zip(names, xs, strict=True):
            for i in range(depth):
                x = ops((name, "fc", i), x)
            ends.append(x)
        return [ops(("merge",), ops.join(ends))]

    return Network("towers", tuple(parts), ((6,),) * len(names), wire)


def attention() -> Network:
    """Two blocks of attention, four projections of equal shape each."""
    return families.encoder(_Fixed(2))


def decoder() -> Network:
    return families.decoder(_Fixed(2))


class _Fixed(random.Random):
    """A generator that chooses the entry of a given place, or the last."""

    def __init__(self, place: int) -> None:
        super().__init__(0)
        self._place = place

    def choice(self, items: Sequence[Any]) -> Any:  # type: ignore[override]
        return items[min(self._place, len(items) - 1)]


BARE = Writing("graph")
META = Writing("graph", meta=True)


@traps
def another_head() -> Iterator[Trap]:
    """Everything is equal but one head, which is a new one: missing and unexpected, not a pair."""
    cats, dogs = with_heads("cats"), with_heads("dogs")
    allowed = {"allow_missing": True, "allow_unexpected": True}
    for kind, a, b in (("keras", Writing(), Writing()), ("graph", BARE, Writing(suffix=".keras")),
                       ("archive", Writing("archive", suffix=".npz"), Writing("subclass"))):  # fmt: skip
        yield Trap(f"{kind}-asked", (cats, a), (dogs, b), REFUSED)
        yield Trap(f"{kind}-allowed", (cats, a), (dogs, b), RIGHT, allowed)
        yield Trap(f"{kind}-fan-out", (cats, a), (dogs, b), RIGHT, {**allowed, "fan_out": True})
        yield Trap(
            f"{kind}-one-of-two", (with_heads("cats", "mice"), a), (with_heads("dogs", "mice"), b), RIGHT, allowed
        )


@traps
def projections_and_the_alphabet() -> Iterator[Trap]:
    """`key`, `output`, `query`, `value` is the alphabet, not the order of anything."""
    short = Naming(2, "_", "underscore", 0, False)
    for network in (attention(), decoder()):
        for kind, a, b in (
            ("subclass-to-graph", Writing("subclass"), BARE),
            ("subclass-to-short", Writing("subclass"), replace(BARE, names=short.name)),
            ("nested-to-functional", Writing("subclass", None, layout="nested"), Writing()),
            ("graph-to-nested", BARE, Writing("subclass", None, layout="nested")),
            ("short-to-subclass", Writing(names=short.name), Writing("subclass")),
            ("archive-to-subclass", Writing("archive", suffix=".safetensors"), Writing("subclass", layout="flat")),
        ):
            yield Trap(f"{network.family}-{kind}", (network, a), (network, b), RIGHT)
        for kind, a, b in (
            ("list-to-bare", Writing("subclass", layout="list"), replace(BARE, names=short.name)),
            ("bare-to-list", BARE, Writing("subclass", layout="list")),
            ("sorted-to-list", Writing("archive", suffix=".safetensors"), Writing("module", layout="list")),
            ("subclass-to-counted", Writing("subclass"), Writing(names=None, suffix=".keras")),
        ):
            yield Trap(f"{network.family}-{kind}", (network, a), (network, b), SAFE)


def _depth_by_depth(paths: list[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (len(path) < 3, str(path[-1]), path))


@traps
def towers_with_automatic_names() -> Iterator[Trap]:
    """Keras lists depth by depth, TensorFlow 1 tower by tower; counters follow neither alone."""
    counted = {
        "keras": Writing(names=None, suffix=".keras"),
        "weights": Writing(names=None),
        "tf_keras": Writing(names=None, suffix=".h5", old=True),
        "graph": replace(META, names=None),
        "bare": replace(BARE, names=None),
        "list": Writing("module", layout="list"),
        "stacked": Writing("subclass", layout="list"),
        "by-depth": replace(META, names=None, order=_depth_by_depth),
        "keras-by-depth": Writing(names=None, suffix=".keras", order=_depth_by_depth),
    }
    network = two_towers(3)
    for (one, a), (other, b) in itertools.permutations(counted.items(), 2):
        yield Trap(f"{one}-to-{other}", (network, a), (network, b), SAFE)


@traps
def towers_of_other_words() -> Iterator[Trap]:
    """The towers' words differ altogether: a scope that is torn apart is wrong, whatever the order says."""
    ours, theirs = two_towers(3, ("query", "passage")), two_towers(3)

    def name(path: Path) -> str:
        return PLAIN.name(
            tuple({"query": "left", "passage": "right"}.get(str(p), p) if isinstance(p, str) else p for p in path)
        )

    for kind, a, b in (("graph", META, Writing(names=name)), ("bare", BARE, Writing(names=name, suffix=".keras")),
                       ("subclass", Writing("subclass"), Writing(names=name)),
                       ("both", Writing(), Writing(names=name))):  # fmt: skip
        yield Trap(f"{kind}", (ours, a), (theirs, b), SAFE)
        yield Trap(f"{kind}-back", (theirs, b), (ours, a), SAFE)


@traps
def streams_of_equal_words() -> Iterator[Trap]:
    """Both files say `rgb` and `flow`, in other places of their names."""
    network = two_towers(3, ("rgb", "flow"))

    def behind(path: Path) -> str:
        return PLAIN.name((*path[1:], path[0]))

    for kind, a, b in (("graph", replace(BARE, names=Naming(0, "/", "own", 0, False).name), Writing(names=behind)),
                       ("meta", META, Writing(names=behind, order=_depth_by_depth)),
                       ("subclass", Writing("subclass"), Writing(names=behind, suffix=".h5"))):  # fmt: skip
        yield Trap(kind, (network, a), (network, b), RIGHT)
        yield Trap(f"{kind}-back", (network, b), (network, a), RIGHT)


@traps
def refactored_subclasses() -> Iterator[Trap]:
    """A class against its rewritten self: flat, nested, lists and dicts; the alphabet orders what has words."""
    ways = {f"{'old' if old else 'new'}-{layout}": Writing("subclass", None, layout=layout, old=old, suffix=suffix)
            for old, suffix in ((False, ".weights.h5"), (True, ".ckpt"))
            for layout in ("flat", "nested", "list", "dict")}  # fmt: skip
    worded = {name for name in ways if "list" not in name and name != "new-dict"}
    network = attention()
    for one, other in itertools.permutations(ways, 2):
        expect = RIGHT if {one, other} <= worded else SAFE
        yield Trap(f"{one}-to-{other}", (network, ways[one]), (network, ways[other]), expect)


@traps
def a_second_copy() -> Iterator[Trap]:
    """Two copies of equal standing are ambiguous whatever is allowed; naming one settles it."""
    network = chain(3, "fc")
    for wanted, other in (("online", "target"), ("pi", "oldpi"), ("model", "ema"), ("actor_a", "actor_b")):
        scopes = (wanted, other)
        for kind, b in (("named", Writing()), ("counted", Writing(names=None, suffix=".keras")),
                        ("subclass", Writing("subclass", layout="flat"))):  # fmt: skip
            for meta in (True, False):
                source = (network, Writing("graph", meta=meta, copies=scopes))
                name = f"{wanted}-{kind}-{'meta' if meta else 'bare'}"
                yield Trap(f"{name}-asked", source, (network, b), REFUSED)
                yield Trap(f"{name}-allowed", source, (network, b), REFUSED, {"allow_unexpected": True})
                named = RIGHT if kind != "counted" or meta else SAFE
                yield Trap(f"{name}-scope", source, (network, b), named, {"source_scope": wanted})
                rule = {"rename": [f"^{wanted}/="], "allow_unexpected": True}
                yield Trap(f"{name}-rule", source, (network, b), SAFE, rule)

        def name_of(path: Path, scope: str = wanted) -> str:
            return f"{scope}_{PLAIN.name(path)}"

        source = (network, Writing("graph", copies=scopes))
        yield Trap(f"{wanted}-said", source, (network, Writing(names=name_of)), RIGHT, {"allow_unexpected": True})


@traps
def one_too_many() -> Iterator[Trap]:
    """Of layers that only counters or places tell apart, one is left: which one, nothing says."""
    for count in (2, 4):
        for kind, a, b in (("keras", Writing(names=None, suffix=".keras"), Writing(names=None, suffix=".keras")),
                           ("weights", Writing(names=None), Writing(names=None)),
                           ("graph", replace(META, names=None), Writing(names=None)),
                           ("list", Writing("module", layout="list"), Writing("subclass", layout="list"))):  # fmt: skip
            longer = chain(count + 1)
            shorter = without(longer, ("hidden", count // 2))
            yield Trap(f"{kind}-{count}-left", (longer, a), (shorter, b), REFUSED, {"allow_unexpected": True})
            yield Trap(f"{kind}-{count}-more", (shorter, b), (longer, a), REFUSED, {"allow_missing": True})
    middle = without(chain(4), ("hidden", 1))
    numbered = Writing("archive", suffix=".npz")
    yield Trap("named-numbers", (chain(4), numbered), (middle, Writing()), SAFE, {"allow_unexpected": True})


def _renamed(network: Network, shift: int, word: str = "hidden") -> Callable[[Path], str]:
    return lambda path: PLAIN.name(tuple(p + shift if isinstance(p, int) else word for p in path))


@traps
def numbers_that_overlap() -> Iterator[Trap]:
    """Counted from 0 and from 1: nearly every name of one file is a name of the other, of the layer before it."""
    network = chain(12)
    for kind, a, b in (("bare", BARE, Writing(names=_renamed(network, 1))),
                       ("archive", Writing("archive", suffix=".npz"), Writing("subclass", _renamed(network, 1))),
                       ("meta", META, replace(BARE, names=_renamed(network, 1)))):  # fmt: skip
        yield Trap(kind, (network, a), (network, b), RIGHT)
        yield Trap(f"{kind}-back", (network, b), (network, a), RIGHT)
    shorter = without(network, ("hidden", 0))
    for kind, a, b in (("bare", BARE, Writing()), ("archive", Writing("archive", suffix=".npz"), Writing("subclass"))):
        yield Trap(f"{kind}-first-left-out", (network, a), (shorter, b), SAFE, {"allow_unexpected": True})


@traps
def one_difference_in_spelling() -> Iterator[Trap]:
    """Files that a person takes for equal at a glance, and that have no order."""
    plain = Naming(0, "/", "underscore", 0, False)
    others = {
        "glued": replace(plain, number="glued"), "own": replace(plain, number="own"), "from-1": replace(plain, first=1),
        "padded": replace(plain, padded=True), "underscores": replace(plain, joint="_"), "dots": replace(plain, joint="."),
        "camel": replace(plain, joint="camel"), "glued-from-1": replace(plain, number="glued", first=1),
    }  # fmt: skip
    for network in (families.residual(_Fixed(2)), attention(), families.experts(_Fixed(2)), families.u_net(_Fixed(2))):
        for kind, habits in others.items():
            a = Writing("archive", names=plain.name, suffix=".safetensors")
            b = Writing("archive", names=habits.name, suffix=".npz", order=_backwards)
            yield Trap(f"{network.family}-{kind}", (network, a), (network, b), RIGHT)


def _backwards(paths: list[Path]) -> list[Path]:
    return paths[::-1]


@traps
def names_against_the_order() -> Iterator[Trap]:
    """The same names on both sides, layers made in the opposite order: names win; where only counters are left, nobody."""
    for network in (with_heads("age", "height", "income"), two_towers(2), chain(5)):
        for kind, a, b in (("graph", replace(META, order=_backwards), META), ("keras", Writing(order=_backwards), BARE),
                           ("list", Writing("subclass", order=_backwards), Writing("module"))):  # fmt: skip
            yield Trap(f"{network.family}-{kind}", (network, a), (network, b), RIGHT)
        counted = Writing(names=None, suffix=".weights.h5", order=_backwards)
        yield Trap(f"{network.family}-counted", (network, counted), (network, replace(META, names=None)), SAFE)
        yield Trap(f"{network.family}-counted-back", (network, replace(META, names=None)), (network, counted), SAFE)


@traps
def rules_that_settle() -> Iterator[Trap]:
    """A rule to the target's exact name, automatic or not, settles that pair."""
    longer, shorter = chain(4), chain(3)
    for kind, b in (("counted", Writing(names=None)), ("named", Writing(names=lambda path: f"block_{path[1]}"))):
        names = ["dense", "dense_1", "dense_2"] if kind == "counted" else [f"block_{i}" for i in range(3)]
        rules = [f"^hidden_{i}={name}" for i, name in enumerate(names)]
        options = {"rename": rules, "allow_unexpected": True}
        yield Trap(f"{kind}-bare", (longer, BARE), (shorter, b), RIGHT, options)
        yield Trap(f"{kind}-archive", (longer, Writing("archive", suffix=".npz")), (shorter, b), RIGHT, options)


__all__ = ["TRAPS"]
