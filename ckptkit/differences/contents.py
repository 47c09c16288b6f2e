"""Finding equal contents, in one pass over each file where contents are told apart by a few of their bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptkit.compare import Comparison, Tolerance, Workspace, fingerprint, run_tasks
from ckptkit.differences.reading import SKETCH_BYTES, compare_variables, readable, sketch, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ckptkit.model import Checkpoint, Fingerprint, Variable


@dataclass(frozen=True, slots=True)
class Contents:
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
    progress: Callable[[int], None] | None = None,
    threads: int = 2,
) -> Contents:
    """Everything that matching by value needs to know of the named variables.

    Two variables whose first, middle and last bytes agree, and with which no other agrees, are compared whole at once;
    what is left is fingerprinted.

    Args:
        a: one checkpoint.
        b: the other.
        names_a: canonical names of a's variables to be looked at.
        names_b: likewise for b.
        progress: told the bytes done, from any of the threads.
        threads: how many work.

    Raises:
        CkptkitError: a variable cannot be read, or does not match its checksum.
    """
    variables_a, variables_b = readable(a, names_a), readable(b, names_b)
    proven = _compare_lookalikes(a, b, variables_a, variables_b, progress, threads)
    settled_a, settled_b = {pair[0] for pair in proven}, {pair[1] for pair in proven}
    tasks = [(a, variable) for variable in variables_a if variable.name not in settled_a]
    rest_a = len(tasks)
    tasks += [(b, variable) for variable in variables_b if variable.name not in settled_b]

    def take(task: tuple[Checkpoint, Variable], work: Workspace) -> Fingerprint:
        checkpoint, variable = task
        found = fingerprint(checkpoint.source, spec_of(variable), work)
        if progress is not None:
            progress(variable.nbytes)
        return found

    prints = run_tasks(tasks, take, cost=lambda task: task[1].nbytes, threads=threads)
    named = [(variable.name, found) for (_, variable), found in zip(tasks, prints, strict=True)]
    return Contents(dict(named[:rest_a]), dict(named[rest_a:]), proven)


def _compare_lookalikes(
    a: Checkpoint,
    b: Checkpoint,
    variables_a: list[Variable],
    variables_b: list[Variable],
    progress: Callable[[int], None] | None,
    threads: int,
) -> dict[tuple[str, str], Comparison]:
    """Pairs of names with equal bytes, among the large tensors that only one of the other side looks like."""
    alike: dict[tuple[str, int, bytes], tuple[list[Variable], list[Variable]]] = defaultdict(lambda: ([], []))
    for side, checkpoint, variables in ((0, a, variables_a), (1, b, variables_b)):
        for variable in variables:
            if variable.nbytes > SKETCH_BYTES and variable.dtype != "string":
                seen = sketch(checkpoint, variable)
                alike[variable.dtype, variable.nbytes, seen][side].append(variable)
    pairs = [
        (ones[0], others[0])
        for (_, _, seen), (ones, others) in alike.items()
        if len(ones) == len(others) == 1 and ones[0].shape == others[0].shape and not _repeats(seen, ones[0])
    ]

    def compare(pair: tuple[Variable, Variable], work: Workspace) -> Comparison:
        return compare_variables(a, pair[0], b, pair[1], Tolerance(), work, progress)

    found = run_tasks(pairs, compare, cost=lambda pair: pair[0].nbytes, threads=threads)
    return {
        (one.name, other.name): comparison
        for (one, other), comparison in zip(pairs, found, strict=True)
        if comparison.status == "identical"
    }


def _repeats(seen: bytes, variable: Variable) -> bool:
    """Whether what was seen of a tensor is one value again and again, so that it may be constant."""
    size = variable.nbytes // variable.size
    return seen[size:] == seen[:-size]
