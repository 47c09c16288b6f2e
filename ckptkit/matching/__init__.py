"""Which variables of a source hold what variables of a target want, on which evidence."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ckptkit.errors import UsageError
from ckptkit.matching.options import Pairing
from ckptkit.matching.result import Match
from ckptkit.model import By, CheckpointSpec


def match(
    a: CheckpointSpec,
    b: CheckpointSpec,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    pairs: Mapping[str, str] | None = None,
    scopes: tuple[Sequence[str], Sequence[str]] = ((), ()),
    fan_out: bool = False,
    slots: bool = False,
) -> Match:
    r"""Match the weights of a source with those of a target, from names, shapes and order alone.

    Args:
        a: the source.
        b: the target.
        by: `auto` (all evidence), `name` (equal canonical names only, whatever the shapes), `order` or `scope`.
            Matching by value needs content, see `ckptkit.matching.value`.
        rename: `REGEX=REPLACEMENT` rules for the source's layer paths and variable names, in order (`^old/=new/`). What
            gets a target's exact name goes there, if it fits, before anything else is looked at.
        pairs: name in the target -> name in the source, of layers or variables, settled before anything else.
        scopes: components of a path that are taken off the names of (a, b), which hold nothing else (see `within`).
        fan_out: let one source variable fill several targets, and several that must be equal feed one.
        slots: match slots, state and metadata too; slots go where their variables go.

    Returns:
        The match; nothing is raised for what does not fit, unless `pairs` names it.

    Raises:
        UsageError: a rename rule that is none or matches nothing, a pair that is unknown or does not fit, or a method
            that needs content.
    """
    return match_as(a, b, Pairing(by, rename, pairs or {}, fan_out=fan_out, slots=slots), scopes)


def match_as(
    a: CheckpointSpec,
    b: CheckpointSpec,
    pairing: Pairing,
    scopes: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Match:
    """As `match`, with what a person said in one value.

    Args:
        a: the source, which holds nothing but what takes part; so does the target.
        b: the target.
        pairing: its own scopes and assumptions are not looked at: they are in the maps already.
        scopes: as for `match`.
    """
    from ckptkit.matching.assemble import match_specs

    if pairing.by not in ("auto", "name", "order", "scope"):
        raise UsageError(
            f"no matching by {pairing.by} from specs alone", key="by", expected="auto, name, order or scope"
        )
    with _collector_paused():
        return match_specs(a, b, pairing, scopes)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cycle is made here, yet the collector would go through all of a large checkpoint's objects again and again.

    At 100,000 variables that is half of the time, and what makes it grow faster than the checkpoint.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


__all__ = ["By", "Match", "Pairing", "match", "match_as"]
