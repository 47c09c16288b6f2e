"""Making a plan: what goes where and what is done to it on the way, proven on shapes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptkit.api.match import Found, find_match, parts_of
from ckptkit.api.open import open_for
from ckptkit.api.proposal import Proposal
from ckptkit.conventions import TIED, TRANSPOSED
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import RefusedError, UsageError
from ckptkit.matching import Pairing
from ckptkit.model import Checkpoint
from ckptkit.model.selection import refuse_foreign
from ckptkit.planner.averages import averaged
from ckptkit.planner.exported import warn_of_constants
from ckptkit.planner.fingerprints import with_fingerprints
from ckptkit.planner.vocabulary import Rows, follow, pair_vocabularies, resized, warn
from ckptkit.plans import Plan, check_plan

if TYPE_CHECKING:
    from ckptkit.matching.within import Within
    from ckptkit.model import By, Depth

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan may leave open, and what is done besides pairing; see `plan`."""

    allow_missing: bool = False
    allow_unexpected: bool = False
    by_token: bool = False
    average: bool = False
    fingerprints: Depth | None = None


def plan(
    source: Path,
    like: Path,
    *,
    by: By = "auto",
    rename: Sequence[str] = (),
    pairs: Mapping[str, str] | None = None,
    source_scope: str | None = None,
    target_scope: str | None = None,
    fan_out: bool = False,
    assume: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    slots: bool = False,
    by_token: bool = False,
    average: bool = False,
    fingerprints: Depth | None = "sample",
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Proposal:
    """How to make a checkpoint in the shape of `like` that holds the weights of `source`, proven on shapes.

    Args:
        source: as for `match`.
        like: the template.
        by: as for `match`.
        rename: as for `match`.
        pairs: as for `match`.
        source_scope: as for `match`.
        target_scope: as for `match`.
        fan_out: as for `match`.
        assume: as for `match`.
        allow_missing: whether weights that the source lacks may keep the template's values.
        allow_unexpected: whether weights of the source may be left behind.
        slots: whether optimizer slots are moved too.
        by_token: whether rows of embeddings follow their tokens, where both sides hold vocabularies; rows of tokens that only
            the target has keep the template's values.
        average: whether moving averages of the source's variables take their places.
        fingerprints: by what the plan knows the two files again: checksums where a file stores them, else of a few bytes
            of each tensor (`sample`) or of all of them (`full`); None for a plan that does not.
        engine: who reads contents, for `by="value"` (see `ckptkit.engines.open_engine`).
        progress: called while contents are read.

    Raises:
        RefusedError: something is missing, unexpected or ambiguous; names it and its nearest candidates. Its `plan` is
            the plan so far, with the open places marked.
        CkptkitError: a file cannot be read, a name or a scope is not there.
    """
    pairing = Pairing(by, rename, pairs or {}, (source_scope, target_scope), fan_out, assume or {}, slots)
    terms = Terms(allow_missing, allow_unexpected, by_token, average, fingerprints)
    with open_engine(engine) as workers:
        return propose(source, like, pairing, terms, workers, progress)


def propose(
    source: Path, like: Path, pairing: Pairing, terms: Terms, engine: Engine, progress: Progress = silent
) -> Proposal:
    """As `plan`, with what a person said in two values."""
    if terms.by_token and pairing.by == "value":
        raise UsageError("rows follow tokens, or contents", key="--by value and --by-token")
    with open_for(engine, source) as a, open_for(engine, like) as b:
        refuse_foreign(a.spec)
        refuse_foreign(b.spec)
        rows = pair_vocabularies(a, b) if terms.by_token else {}
        ours, theirs = parts_of(a, b, pairing)
        parts = replace(ours, spec=resized(ours.spec, b.spec, rows)), theirs
        found = find_match(a, b, parts, pairing, engine, progress)
        try:
            made = _made(a, b, parts, found, rows, pairing, terms)
        except RefusedError as refusal:
            if refusal.plan is not None:
                refusal.plan = _finished(refusal.plan, a, b, rows, terms)
            raise
        return Proposal(_finished(made, a, b, rows, terms))


def _made(
    a: Checkpoint, b: Checkpoint, parts: tuple[Within, Within], found: Found, rows: Rows, pairing: Pairing, terms: Terms
) -> Plan:
    from ckptkit.planner import make_plan
    from ckptkit.planner.rearranged import expressions

    return make_plan(
        found.match,
        parts[0].spec,
        parts[1].spec,
        allow_missing=terms.allow_missing,
        allow_unexpected=terms.allow_unexpected,
        slots=pairing.slots,
        rearranged=expressions(a, b, found.match, found.contents) if found.contents else {},
        expanded=found.expanded,
        tied=pairing.assume.get(TIED) == TRANSPOSED,
        assume=pairing.assume,
        whole=(resized(a.spec, b.spec, rows), b.spec) if pairing.scoped else None,
    )


def _finished(plan: Plan, a: Checkpoint, b: Checkpoint, rows: Rows, terms: Terms) -> Plan:
    """`plan` with what vocabularies, moving averages and the contents of the files add to it."""
    plan = follow(plan, a.spec, b.spec, rows) if rows else warn(plan, a, b)
    plan = warn_of_constants(plan, b.spec)
    if terms.average:
        plan = averaged(plan, a.spec)
    if rows or terms.average:
        check_plan(plan, a.spec, b.spec)
    return plan if terms.fingerprints is None else with_fingerprints(plan, a, b, terms.fingerprints)
