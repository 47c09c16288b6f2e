"""What a worker process that ckptkit started does first; Dask calls `dask_setup` by that name."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Leave Ctrl-C, which all processes of a terminal get, to the command, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
