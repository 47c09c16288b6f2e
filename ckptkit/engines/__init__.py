"""Who does the work: threads of this process, or the processes and machines of a Dask cluster."""

from ckptkit.engines.choice import open_engine
from ckptkit.engines.counting import Counter, Progress, silent
from ckptkit.engines.threads import THREADS, Threads
from ckptkit.engines.work import Engine, Told, Work, unwatched

__all__ = ["THREADS", "Counter", "Engine", "Progress", "Threads", "Told", "Work", "open_engine", "silent", "unwatched"]
