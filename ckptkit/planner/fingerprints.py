"""The files that a plan was made for, by what is in them: taken when it is made, compared when it is applied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptkit.model import CHUNK_BYTES, Checkpoint, Depth, Variable
from ckptkit.model.ranges import ChecksummedSource
from ckptkit.plans import Fingerprints, Plan, reads

# Names of a sentence.
_LISTED = 4

_DIGITS = 32  # 128 bits


def with_fingerprints(plan: Plan, source: Checkpoint, template: Checkpoint, depth: Depth) -> Plan:
    """`plan` with the fingerprints of the files that it was made for.

    Raises:
        CkptkitError: a tensor cannot be read.
    """
    read = [name for step in plan.steps for op in (step.op, *step.copies) for name in reads(op)]
    candidates = [choice.source.name for place in plan.open for choice in place.candidates]
    wanted = dict.fromkeys((*read, *plan.unexpected, *candidates, *_weights(source)))
    targets = [
        *(step.target.name for step in plan.steps),
        *(place.target.name for place in plan.open),
        *(kept.target for kept in plan.kept),
    ]
    taken = Fingerprints(_taken(source, wanted, depth), _taken(template, targets, depth))
    return replace(plan, fingerprints=taken)


def what_differs(plan: Plan, source: Checkpoint, template: Checkpoint) -> tuple[str, ...]:
    """A sentence for each of the two files that is not the one that the plan was made for; none where both are.

    Raises:
        CkptkitError: a tensor cannot be read.
    """
    prints = plan.fingerprints
    if prints is None:
        return ()
    sides = (("source", source, prints.source), ("template", template, prints.target))
    return tuple(
        f"not the {side} that the plan was made for: {found}"
        for side, checkpoint, known in sides
        if (found := _difference(checkpoint, known))
    )


def _difference(checkpoint: Checkpoint, known: Mapping[str, str]) -> str:
    variables = {variable.name: variable for variable in checkpoint.spec.variables}
    gone = [name for name in known if name not in variables]
    other = [
        name
        for name, fingerprint in known.items()
        if name in variables and _fingerprint(checkpoint, variables[name], fingerprint.partition(":")[0]) != fingerprint
    ]
    more = [name for name in _weights(checkpoint) if name not in known]
    facts = ((gone, "not there"), (other, "with other contents"))
    found = [f"{len(names)} of {len(known)} tensors {what} ({_listed(names)})" for names, what in facts if names]
    if more:
        found.append(f"{len(more)} that the plan does not know ({_listed(more)})")
    return "; ".join(found)


def _weights(checkpoint: Checkpoint) -> list[str]:
    """Names of the weights that can be read: what a plan must know all of, or they are left behind unsaid."""
    return [each.name for each in checkpoint.spec.variables if each.kind == "weight" and not each.problem]


def only_sampled(plan: Plan, checkpoints: Iterable[Checkpoint]) -> int:
    """How many tensors the plan knows by a few of their bytes, where they have more."""
    from ckptkit.differences.reading import SKETCH_BYTES

    if plan.fingerprints is None:
        return 0
    sides = zip(checkpoints, (plan.fingerprints.source, plan.fingerprints.target), strict=True)
    return sum(
        checkpoint.find(name).nbytes > SKETCH_BYTES
        for checkpoint, known in sides
        for name, fingerprint in known.items()
        if fingerprint.startswith("sample:")
    )


def _taken(checkpoint: Checkpoint, names: Iterable[str], depth: Depth) -> dict[str, str]:
    """Fingerprints of the named variables, but of those that cannot be read."""
    source = checkpoint.source
    variables = [variable for name in names if not (variable := checkpoint.find(name)).problem]
    # Asked once: whether an object has all methods of a protocol takes longer than to look up a checksum.
    if isinstance(source, ChecksummedSource):
        return {variable.name: source.stored_checksum(variable.key) for variable in variables}
    kind = "sample" if depth == "sample" else "sha256"
    return {variable.name: _fingerprint(checkpoint, variable, kind) for variable in variables}


def _fingerprint(checkpoint: Checkpoint, variable: Variable, kind: str) -> str:
    """The fingerprint of a kind; another one, which equals none of it, where the file has none of the kind."""
    source = checkpoint.source
    if variable.problem:
        return "unreadable"
    if kind in ("sample", "sha256"):
        digest = hashlib.sha256(f"{variable.dtype} {list(variable.shape)} ".encode())
        if variable.dtype == "string":
            for text in source.read_strings(variable.key):
                digest.update(f"{len(text)} ".encode() + text)
        elif kind == "sample":
            from ckptkit.differences import sketch

            digest.update(sketch(checkpoint, variable))
        else:
            for piece in source.stream(variable.key, memoryview(bytearray(CHUNK_BYTES))):
                digest.update(piece)
        return f"{kind}:{digest.hexdigest()[:_DIGITS]}"
    return source.stored_checksum(variable.key) if isinstance(source, ChecksummedSource) else "none"


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
