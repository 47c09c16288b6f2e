"""Finding equal contents, in one pass over each file where contents are told apart by a few of their bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ckptkit.compare import Comparison
from ckptkit.differences.reading import SKETCH_BYTES, readable
from ckptkit.differences.work import Both, EqualityWork, FingerprintWork, One, SketchWork
from ckptkit.engines import THREADS, Engine, Told, unwatched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ckptkit.model import Checkpoint, Fingerprint, Variable


@dataclass(frozen=True, slots=True)
class FoundContents:
    """What is known of the contents of the variables of two checkpoints.

    Attributes:
        prints_a: canonical name -> fingerprint, of a's variables that are not in `proven`.
        prints_b: likewise for b.
        proven: pairs of names with equal bytes, compared whole, that no third variable holds.
    """

    prints_a: Mapping[str, Fingerprint]
    prints_b: Mapping[str, Fingerprint]
    proven: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)


def search_contents(
    a: Checkpoint,
    b: Checkpoint,
    names_a: Iterable[str],
    names_b: Iterable[str],
    *,
    engine: Engine = THREADS,
    progress: Told = unwatched,
) -> FoundContents:
    """Everything that matching by value needs to know of the named variables.

    Two variables whose first, middle and last bytes agree, and with which no other agrees, are compared whole at once;
    what is left is fingerprinted.

    Args:
        a: one checkpoint.
        b: the other.
        names_a: canonical names of a's variables to be looked at.
        names_b: likewise for b.
        engine: who reads them.
        progress: told the bytes done, from any thread.

    Raises:
        CkptkitError: a variable cannot be read, or does not match its checksum.
    """
    variables_a, variables_b = readable(a, names_a), readable(b, names_b)
    proven = _compare_lookalikes(a, b, variables_a, variables_b, engine, progress)
    settled_a, settled_b = {pair[0] for pair in proven}, {pair[1] for pair in proven}
    tasks = [One(0, variable) for variable in variables_a if variable.name not in settled_a]
    rest_a = len(tasks)
    tasks += [One(1, variable) for variable in variables_b if variable.name not in settled_b]
    prints = engine.run(tasks, FingerprintWork(a, b), cost=lambda task: task.nbytes, progress=progress)
    named = [(task.variable.name, found) for task, found in zip(tasks, prints, strict=True)]
    return FoundContents(dict(named[:rest_a]), dict(named[rest_a:]), proven)


def _compare_lookalikes(
    a: Checkpoint,
    b: Checkpoint,
    variables_a: list[Variable],
    variables_b: list[Variable],
    engine: Engine,
    progress: Told,
) -> dict[tuple[str, str], Comparison]:
    """Pairs of names with equal bytes, among the large tensors that only one of the other side looks like."""
    sides: tuple[tuple[Literal[0, 1], list[Variable]], ...] = ((0, variables_a), (1, variables_b))
    looked_at = [
        One(side, variable)
        for side, variables in sides
        for variable in variables
        if variable.nbytes > SKETCH_BYTES and variable.dtype != "string"
    ]
    sketches = engine.run(looked_at, SketchWork(a, b), cost=lambda task: task.sketch_bytes)
    alike: dict[tuple[str, int, bytes], tuple[list[Variable], list[Variable]]] = defaultdict(lambda: ([], []))
    for task, seen in zip(looked_at, sketches, strict=True):
        alike[task.variable.dtype, task.variable.nbytes, seen][task.side].append(task.variable)
    pairs = [
        Both(ones[0], others[0])
        for (_, _, seen), (ones, others) in alike.items()
        if len(ones) == len(others) == 1 and ones[0].shape == others[0].shape and not _repeats(seen, ones[0])
    ]
    found = engine.run(pairs, EqualityWork(a, b), cost=lambda pair: pair.nbytes, progress=progress)
    return {
        (pair.one.name, pair.other.name): comparison
        for pair, comparison in zip(pairs, found, strict=True)
        if comparison.status == "identical"
    }


def _repeats(seen: bytes, variable: Variable) -> bool:
    """Whether what was seen of a tensor is one value again and again, so that it may be constant."""
    size = variable.nbytes // variable.size
    return seen[size:] == seen[:-size]
