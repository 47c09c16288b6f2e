"""The weights of one checkpoint in the shape of another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ckptkit.api.plan import Terms, propose
from ckptkit.api.proposal import Remapped
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.matching import Pairing

if TYPE_CHECKING:
    from ckptkit.model import By

Path = str | os.PathLike[str]


def remap(
    source: Path,
    like: Path,
    output: Path,
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
    allow_lossy: bool = False,
    force: bool = False,
    engine: str | Engine | None = None,
    progress: Progress = silent,
) -> Remapped:
    """Write `output`: the template `like` with the weights of `source`. Arguments as for `plan`.

    Args:
        source: checkpoint that has the values.
        like: checkpoint whose shape, names and everything but the weights the output has.
        output: where to; complete, or not there.
        by: as for `plan`.
        rename: as for `plan`.
        pairs: as for `plan`.
        source_scope: as for `plan`.
        target_scope: as for `plan`.
        fan_out: as for `plan`.
        assume: as for `plan`.
        allow_missing: as for `plan`.
        allow_unexpected: as for `plan`.
        slots: as for `plan`.
        by_token: as for `plan`.
        average: as for `plan`.
        allow_lossy: as for `Proposal.apply`.
        force: whether an existing output is replaced.
        engine: as for `Proposal.apply`.
        progress: called while tensors are written and read back.

    Raises:
        RefusedError: the match is not complete.
        CkptkitError: a file cannot be read or written.
    """
    pairing = Pairing(by, rename, pairs or {}, (source_scope, target_scope), fan_out, assume or {}, slots)
    terms = Terms(allow_missing, allow_unexpected, by_token, average)
    with open_engine(engine) as workers:
        proposal = propose(source, like, pairing, terms, workers)
        return proposal.apply(output, force=force, allow_lossy=allow_lossy, engine=workers, progress=progress)
