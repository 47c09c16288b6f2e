"""The plan on paper of docs/scale.md, played through: the real cutter and packer on a terabyte of specs without data."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ckptkit.compare import RangeComparison, Statistics, Tensor, join_compared
from ckptkit.compare.ranges import Range, cut_elements
from ckptkit.engines.batches import Piece, cut_tasks, grain_for, pack
from ckptkit.engines.work import Told, Work
from ckptkit.formats.parts import divided, shard_count
from ckptkit.model import TensorSpec
from ckptkit.storage.remote.storage import BLOCK_BYTES
from tests.conftest import ROOT
from tests.engine.test_laws import RangedMemory

PAGE = (ROOT / "docs" / "scale.md").read_text()
SHARDS, WORKERS = 512, 64


def stated(what: str) -> float:
    """The number in the row of the page's tables that begins with `what`."""
    found = re.search(rf"^\| {re.escape(what)} \| ([0-9.,]+)", PAGE, re.MULTILINE)
    assert found, what
    return float(found[1].replace(",", ""))


@dataclass(frozen=True)
class Pair:
    """Two tensors of one shape, or a range of them; float32."""

    count: int
    part: Range | None = None

    @property
    def nbytes(self) -> int:
        count = self.count if self.part is None else self.part.stop - self.part.start
        return 2 * 4 * count


class OnPaper(Work[Pair, None, None]):
    """Cut as a comparison is."""

    def cut(self, task: Pair, grain: int) -> Sequence[Pair]:
        return [replace(task, part=part) for part in cut_elements(task.count, 8, grain)]

    def part(self, task: Pair, bench: None, told: Told) -> None:
        pass

    def merge(self, task: Pair, parts: Sequence[None]) -> None:
        pass


def model() -> list[Pair]:
    """A kernel of 256 MiB and its bias, 4000 times."""
    return [Pair(count) for _ in range(4000) for count in (8192 * 8192, 8192)]


def requests(piece: Piece[Pair]) -> int:
    return 2 * -(-(piece.todo.nbytes // 2) // BLOCK_BYTES)


@pytest.fixture(scope="module")
def batches() -> list[list[Piece[Pair]]]:
    tasks = model()
    grain = grain_for(sum(task.nbytes for task in tasks), WORKERS)
    return pack(cut_tasks(tasks, OnPaper(), lambda task: task.nbytes, grain), grain)


def played(batches: Sequence[Sequence[Piece[Pair]]]) -> float:
    """Seconds until the last worker is done; each takes the next submission when the scheduler gets round to it."""
    latency, rate = stated("latency of a request, ms") / 1e3, stated("bytes to one worker, MB/s") * 1e6
    arithmetic = stated("comparing on one core, both sides together, MB/s") * 1e6
    handling = stated("scheduling a submission, ms") / 1e3
    opening = 2 * (2 * SHARDS + 4) * latency / stated("requests at once of one worker")
    free = [(opening, worker) for worker in range(WORKERS)]
    scheduler = 0.0
    for batch in batches:
        at, worker = heapq.heappop(free)
        scheduler = max(at, scheduler) + handling
        # Read-ahead hides arithmetic behind transfer; of each tensor the first block is waited for, on either side.
        work = sum(2 * latency + piece.todo.nbytes / min(rate, arithmetic) for piece in batch)
        heapq.heappush(free, (scheduler + work, worker))
    return max(at for at, _ in free)


def test_what_is_read(batches: list[list[Piece[Pair]]]) -> None:
    pieces = [piece for batch in batches for piece in batch]
    assert len(model()) == stated("tensors of each")
    assert sum(piece.todo.nbytes for piece in pieces) / 2e12 == pytest.approx(stated("bytes of each, TB"), abs=0.01)
    assert len(batches) == stated("submissions")
    assert len(pieces) == stated("pieces")
    assert max(sum(piece.cost for piece in batch) for batch in batches) <= 288 << 20
    assert sum(map(requests, pieces)) == stated("requests for data")
    assert WORKERS * 2 * (2 * SHARDS + 4) == stated("requests for opening")


def test_how_long_it_takes(batches: list[list[Piece[Pair]]]) -> None:
    seconds = played(batches)
    assert seconds == pytest.approx(stated("expected time of the workers, s"), rel=0.05)
    ideal = sum(task.nbytes for task in model()) / WORKERS / (stated("bytes to one worker, MB/s") * 1e6)
    assert seconds == pytest.approx(ideal / (stated("share of the time that is transfer, %") / 100), rel=0.05)
    assert len(batches) * stated("scheduling a submission, ms") / 1e3 < seconds / 5


def test_how_writing_is_divided() -> None:
    tasks = model()
    count = shard_count(sum(task.nbytes // 2 for task in tasks), WORKERS)
    assert count == stated("shards written")
    sizes = [sum(task.nbytes // 2 for task in group) for group in divided(tasks, count, lambda task: task.nbytes)]
    assert max(sizes) / 2**30 <= stated("largest shard, GiB")
    assert min(sizes) > 0


def test_the_serial_part_here(batches: list[list[Piece[Pair]]]) -> None:
    """Cutting, packing and merging on this machine, with room for a slower or busier one."""
    begun = time.process_time()
    tasks = model()
    pack(cut_tasks(tasks, OnPaper(), lambda task: task.nbytes, 256 << 20), 256 << 20)
    cutting = time.process_time() - begun
    source = RangedMemory({"x": np.zeros(4, np.float32)})
    tensor = Tensor(source, TensorSpec("x", (4,), "float32"))
    part = RangeComparison(
        Statistics(4, square_a=3 << 1100, square_b=5 << 1100, product=7 << 1100), ([(1, 16)], [(1, 16)])
    )
    begun = time.process_time()
    for _ in range(4000):
        join_compared(tensor, tensor, [part, part, part])
    merging = time.process_time() - begun
    assert cutting < 20 * stated("cutting and packing, s")
    assert merging < 20 * stated("merging, s")
