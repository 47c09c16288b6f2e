"""How the variables of a training run move."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit.api.open import open_for
from ckptkit.canonical import Maps
from ckptkit.drifting.result import Drift
from ckptkit.drifting.run import Track, follow
from ckptkit.drifting.series import find_series
from ckptkit.engines import Engine, Progress, open_engine, silent
from ckptkit.errors import UsageError

if TYPE_CHECKING:
    from ckptkit.model import Checkpoint


def drift(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    engine: str | Engine | None = None,
    progress: Progress | None = None,
) -> Drift:
    """How much each variable changes from one checkpoint of a run to the next.

    Args:
        paths: checkpoints, or the folder that holds them; numbered names are put in the order of their numbers.
        engine: who reads and compares (see `ckptkit.engines.open_engine`); threads of this process for None.
        progress: called with (bytes done, bytes in all, taking each checkpoint to be as large as the first).

    Raises:
        UsageError: fewer than two checkpoints.
        CkptkitError: one of them cannot be read.
    """
    series = find_series(paths)
    if len(series.found) < 2:
        raise UsageError(
            "drift compares checkpoints of one run",
            path=series.found[0].typed if series.found else None,
            expected="two or more",
            found=len(series.found),
        )
    tracks: dict[str, Track] = {}
    maps = Maps()
    done = total = 0
    with open_engine(engine) as workers, ExitStack() as held:
        before: Checkpoint | None = None
        for index, location in enumerate(series.found):
            with ExitStack() as opened:
                now = opened.enter_context(open_for(workers, location, maps))
                follow(tracks, before, now, index, workers)
                held.close()
                held.push(opened.pop_all())
            before = now
            done += sum(variable.nbytes for variable in now.spec.variables)
            total = max(done, total or done * len(series.found))
            (progress or silent)(done, total)
    found = tuple(track.result(len(series.found)) for track in tracks.values())
    return Drift(tuple(location.typed for location in series.found), series.labels, found, series.notes)
