"""Which variables of a source hold what variables of a target want, on which evidence."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ckptkit.errors import UsageError
from ckptkit.matching.result import Match
from ckptkit.model import By, CheckpointSpec


def match(
    a: CheckpointSpec,
    b: CheckpointSpec,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    fan_out: bool = False,
    slots: bool = False,
) -> Match:
    r"""Match the weights of a source with those of a target, from names, shapes and order alone.

    Args:
        a: the source.
        b: the target.
        by: `auto` (all evidence), `name` (equal canonical names only, whatever the shapes), `order` or `scope`.
            Matching by value needs content, see `ckptkit.matching.value`.
        rename: `REGEX=REPLACEMENT` rules for the source's layer paths, in order (`^old/=new/`).
        fan_out: let one source variable fill several targets, and several that must be equal feed one.
        slots: match slots, state and metadata too; slots go where their variables go.

    Returns:
        The match; nothing is raised for what does not fit.

    Raises:
        UsageError: a rename rule that is none, or a method that needs content.
    """
    from ckptkit.matching.assemble import match_specs

    if by not in ("auto", "name", "order", "scope"):
        raise UsageError(f"no matching by {by} from specs alone", key="by", expected="auto, name, order or scope")
    with _collector_paused():
        return match_specs(a, b, by=by, rename=rename, fan_out=fan_out, slots=slots)


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


__all__ = ["By", "Match", "match"]
