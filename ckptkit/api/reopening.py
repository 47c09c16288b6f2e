"""The same checkpoint in another process: opened by its path there, and refused when it is another one by then."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from ckptkit.api.opening import open  # noqa: A004
from ckptkit.errors import FormatError
from ckptkit.model import Checkpoint

if TYPE_CHECKING:
    import os

    from ckptkit.engines import Engine

# Checkpoints that a process keeps open: those of a command, and of the one before it.
_MOST_OPEN = 6

# A local file that is replaced is not noticed by reading on, so it is looked at again: no sooner than so many times the
# duration of a look, which is one request for each shard. Objects of a store are read in the state they were opened in.
_CHECK_AGAIN_AFTER = 20

_lock = threading.Lock()
_opened: OrderedDict[tuple[str, str], Checkpoint] = OrderedDict()
_fresh_until: dict[tuple[str, str], float] = {}


def open_for(engine: Engine, path: str | os.PathLike[str]) -> Checkpoint:
    """As `open`; for an engine that works elsewhere so that the checkpoint may go there (see `reopen`)."""
    if not engine.elsewhere:
        return open(path)
    from ckptkit.formats.stores import absolute
    from ckptkit.formats.version import version_of

    name = str(path)
    version = version_of(name)  # before it is opened: what comes in between is noticed elsewhere
    checkpoint = open(name)
    checkpoint.reopen = (reopen, (absolute(name), version))
    return checkpoint


def reopen(path: str, version: str) -> Checkpoint:
    """The checkpoint at `path`, opened once in this process.

    It is closed when it is no longer among the last few and nothing uses it.

    Raises:
        FormatError: it is not `version` of it.
        CkptkitError: it cannot be opened.
    """
    with _lock:
        checkpoint = _opened.get((path, version))
        if checkpoint is None:
            checkpoint = open(path)
            # Whoever sent the work makes sure that files behind URLs have not changed; here they are only let go.
            release = getattr(checkpoint.source, "release", checkpoint.source.close)
            weakref.finalize(checkpoint, release).atexit = False
            checkpoint.reopen = (reopen, (path, version))
            _fresh_until.pop((path, version), None)
        _check_version(path, version)  # after opening it: what was replaced before or meanwhile is another version
        _opened[path, version] = checkpoint
        _opened.move_to_end((path, version))
        while len(_opened) > _MOST_OPEN:
            _fresh_until.pop(_opened.popitem(last=False)[0], None)
    return checkpoint


def _check_version(path: str, version: str) -> None:
    from ckptkit.formats.stores import is_url
    from ckptkit.formats.version import version_of

    begun = time.monotonic()
    if begun < _fresh_until.get((path, version), 0):
        return
    found = version_of(path)
    if found != version:
        raise FormatError(
            "the checkpoint was replaced or changed while it was being read", path=path, hint="Run the command again"
        )
    now = time.monotonic()
    _fresh_until[path, version] = math.inf if is_url(path) else now + _CHECK_AGAIN_AFTER * (now - begun)
