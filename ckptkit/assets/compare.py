"""Assets of two checkpoints, paired and compared by content."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ckptkit.assets.contents import AssetContent, Entry, read_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ckptkit.model import Asset, Checkpoint

AssetStatus = Literal["identical", "different", "only_a", "only_b"]

# What formats other than these have no place for, so that it says nothing where one of them has it alone.
_HOLD_FILES = frozenset({"keras", "saved-model"})

# The lookup inside of a `TextVectorization`.
_INNER = "_lookup_layer/"


@dataclass(frozen=True, slots=True)
class AssetDiff:
    """Two assets that belong together, or one that is alone.

    Attributes:
        a: the asset of a; None where b alone has it.
        b: the asset of b; None where a alone has it.
        status: whether their contents are equal.
        first: the first difference in words (`entry 1: 'cat' in a, 'cow' in b`); "" where there is none to be named.
        counts: whether it counts in the verdict: not where the other file's format has no place for it.
    """

    a: Asset | None
    b: Asset | None
    status: AssetStatus
    first: str = ""
    counts: bool = True

    @property
    def name(self) -> str:
        """The name in b, or in a where b has none; both where they differ."""
        names = dict.fromkeys(asset.name for asset in (self.a, self.b) if asset is not None)
        return " ↔ ".join(names)

    @property
    def layer(self) -> str:
        """The layer that owns it in b, or in a where b has none."""
        return self.b.layer if self.b is not None else self.a.layer if self.a is not None else ""

    @property
    def differs(self) -> bool:
        """Whether it makes the verdict `different`."""
        return self.counts and self.status != "identical"

    def to_json(self) -> dict[str, Any]:
        """One entry of `assets`."""
        return {
            "a": None if self.a is None else self.a.name,
            "b": None if self.b is None else self.b.name,
            "layer": self.layer,
            "kind": next(asset.kind for asset in (self.b, self.a) if asset is not None),
            "status": self.status,
            "first": self.first,
            "counts": self.counts,
        }


def compare_assets(
    a: Checkpoint, b: Checkpoint, layers: Mapping[str, str], wanted: Iterable[str] | None = None
) -> tuple[AssetDiff, ...]:
    """What of `a` and `b` beside their tensors is equal and what is not, in the order of b.

    Args:
        a: one checkpoint.
        b: the reference.
        layers: layer of b -> the layer of a that was paired with it.
        wanted: names of the assets to look at; all for None.

    Raises:
        CkptkitError: one cannot be read; nothing is concluded then.
    """
    names = None if wanted is None else set(wanted)
    sides = [[asset for asset in each.spec.assets if names is None or asset.name in names] for each in (a, b)]
    if a.format != b.format:
        sides = [[asset for asset in side if not _repeated(asset, side)] for side in sides]
    pairs = _pair(sides[0], sides[1], layers)
    found = []
    for one, other in pairs:
        if one is not None and other is not None:
            found.append(_compare(read_content(a, one), read_content(b, other)))
        elif other is not None:
            found.append(AssetDiff(None, other, "only_b", counts=_counts(other, a)))
        elif one is not None:
            found.append(AssetDiff(one, None, "only_a", counts=_counts(one, b)))
    return tuple(found)


def _repeated(asset: Asset, side: Sequence[Asset]) -> bool:
    """What Keras writes twice: a `TextVectorization` its own vocabulary and that of the lookup inside of it."""
    outer = asset.name.replace(f"/{_INNER}", "/")
    return outer != asset.name and any(each.name == outer for each in side)


def _counts(asset: Asset, other: Checkpoint) -> bool:
    """Whether the other side could have it and has not."""
    if asset.name.startswith("config:"):
        return False  # an architecture is compared where both have one
    if asset.keys:
        return other.format in ("tensor-bundle", "saved-model")
    return other.format in _HOLD_FILES


def _pair(
    ours: Sequence[Asset], theirs: Sequence[Asset], layers: Mapping[str, str]
) -> list[tuple[Asset | None, Asset | None]]:
    """Assets by equal names, then by the layers that own them, then those that are alone with their like."""
    left = {asset.name: asset for asset in ours}
    pairs: dict[str, Asset] = {}
    for key in (_by_name, _by_word_and_layer, _by_sort_and_layer, _by_word, _by_sort):
        groups: dict[Any, tuple[list[Asset], list[Asset]]] = defaultdict(lambda: ([], []))
        for asset in left.values():
            groups[key(asset, asset.layer)][0].append(asset)
        for asset in theirs:
            if asset.name not in pairs:
                groups[key(asset, layers.get(asset.layer, asset.layer))][1].append(asset)
        for mine, others in groups.values():
            if len(mine) == len(others):
                for one, other in zip(mine, others, strict=True):
                    if one.kind == other.kind or {one.kind, other.kind} == {"vocabulary", "table"}:
                        pairs[other.name] = left.pop(one.name)
    return [(pairs.get(asset.name), asset) for asset in theirs] + [(asset, None) for asset in left.values()]


def _by_name(asset: Asset, layer: str) -> Any:  # noqa: ARG001 - all of these are called alike
    return asset.name


def _by_word_and_layer(asset: Asset, layer: str) -> Any:
    return _word(asset), layer


def _by_sort_and_layer(asset: Asset, layer: str) -> Any:
    return _sort(asset), layer


def _by_word(asset: Asset, layer: str) -> Any:  # noqa: ARG001
    return _word(asset)


def _by_sort(asset: Asset, layer: str) -> Any:  # noqa: ARG001
    return _sort(asset)


def _word(asset: Asset) -> tuple[str, str]:
    """What it is, whatever its owner is called: kind and last part of its name."""
    inner = _INNER if _INNER in asset.name else ""
    return asset.kind, inner + asset.name.rpartition("/")[2] if asset.kind != "settings" else ""


def _sort(asset: Asset) -> str:
    """Its kind, a vocabulary being a table of its rows."""
    if asset.name.rpartition("/")[2] == "token_counts":
        return "counts"
    return "table" if asset.kind == "vocabulary" else asset.kind


def _compare(one: AssetContent, other: AssetContent) -> AssetDiff:
    a, b = one.asset, other.asset
    if one.sha256 == other.sha256 and a.kind == b.kind:
        return AssetDiff(a, b, "identical")
    if one.entries is None or other.entries is None:
        return AssetDiff(a, b, "different", f"{a.nbytes} bytes in a, {b.nbytes} in b, of other content")
    if a.kind == b.kind == "vocabulary":
        first = _first_line(one.entries, other.entries)
    elif a.kind == "settings":
        first = _first_setting(dict(_two(one.entries)), dict(_two(other.entries)))
    else:
        first = _first_key(_table(one), _table(other), special=a.kind != b.kind)
    return AssetDiff(a, b, "different" if first else "identical", first)


def _two(entries: Iterable[Entry]) -> Iterable[tuple[bytes, bytes]]:
    return ((entry[0], entry[-1]) for entry in entries)


def _table(content: AssetContent) -> dict[bytes, bytes]:
    """Key -> value; token -> row of a vocabulary."""
    entries = content.entries or ()
    if content.asset.kind == "vocabulary":
        return {entry[0]: str(row).encode() for row, entry in reversed(list(enumerate(entries)))}
    return dict(_two(entries))


def _first_line(ours: Sequence[Entry], theirs: Sequence[Entry]) -> str:
    for place in range(max(len(ours), len(theirs))):
        one, other = (side[place][0] if place < len(side) else None for side in (ours, theirs))
        if one != other:
            return f"entry {place}: {_shown(one)} in a, {_shown(other)} in b"
    return ""


def _first_setting(ours: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes]) -> str:
    """Of what both were told: other versions of a framework write other options."""
    for name in ours:
        if name in theirs and ours[name] != theirs[name]:
            return f"{name.decode(errors='replace')}: {_plain(ours[name])} in a, {_plain(theirs[name])} in b"
    return ""


def _first_key(ours: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes], *, special: bool) -> str:
    """`special`: one of them is a vocabulary, which begins with tokens (mask, unknown) that no table has."""
    shared = ours.keys() & theirs.keys()
    rows = [int(ours[key]) for key in shared if ours[key].isdigit()]
    least = min(rows, default=0) if special else 0
    for key in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(key), theirs.get(key)
        if one == other:
            continue
        alone = one or other
        if special and (one is None or other is None) and alone is not None and alone.isdigit() and int(alone) < least:
            continue
        return f"{_shown(key)}: {_shown(one, plain=True)} in a, {_shown(other, plain=True)} in b"
    return ""


def _shown(token: bytes | None, *, plain: bool = False) -> str:
    if token is None:
        return "nothing"
    return _plain(token) if plain else repr(_plain(token))


def _plain(token: bytes) -> str:
    text = token.decode(errors="backslashreplace")
    return text if len(text) <= 40 else f"{text[:37]}…"
