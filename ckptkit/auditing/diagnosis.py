"""From measured facts to findings: the rules, none of which measures or looks anything up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.auditing import advice
from ckptkit.auditing.advice import OWN_CALLS
from ckptkit.auditing.findings import Facts, Finding, Severity
from ckptkit.auditing.savers import CALLS
from ckptkit.frameworks import TITLES, is_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckptkit.auditing.holders import Holder
    from ckptkit.auditing.measure import Measured

# The saver that a framework's own users rely on first; losing there is an error, elsewhere a warning.
_FIRST_SAVER = {"keras": "weights.h5", "sonnet": "checkpoint", "tf.Module": "checkpoint"}


def diagnose(measured: Measured) -> list[Finding]:
    """The findings that the facts of a model's variables amount to."""
    broken = {
        saving.saver: saving.problem for saving in measured.savings if _is_broken(saving.restored, saving.problem)
    }
    framework = measured.subject.framework
    found: list[Finding] = []
    for saver, problem in broken.items():
        call = CALLS.get((framework, saver), "tf.train.Checkpoint")
        found.append(
            Finding(
                "saver-fails", "error", None, f"{call}: {problem}.", advice.saver_fails(problem or ""), subject=saver
            )
        )
    for facts, holder, variable in zip(measured.facts, measured.holders, measured.variables, strict=True):
        found.extend(_of_variable(measured, facts, holder, id(variable), tuple(broken)))
    return found


def _is_broken(restored: tuple[bool, ...] | None, problem: str | None) -> bool:
    return problem is not None and restored is not None and not any(restored) and len(restored) > 0


def _of_variable(
    measured: Measured, facts: Facts, holder: Holder | None, key: int, broken: tuple[str, ...]
) -> Iterator[Finding]:
    framework = measured.subject.framework
    lost = tuple(saver for saver in facts.lost_by if saver not in broken)
    unlearned = facts.trainable and facts.trained is False
    where = _where(facts)
    if facts.each_call:
        change = measured.subject.outputs_change
        text = f"{where} is made anew on every call" + ("; outputs change from call to call." if change else ".")
        yield Finding("made-each-call", "error", facts, text, advice.made_each_call(facts, framework), change)
        return
    crossed = None if holder is None or advice.is_hidden(holder) else holder.foreign
    if crossed is not None and (not facts.in_weights or lost or unlearned):
        container, inside = crossed
        text = f"{where} belongs to {TITLES[inside]} inside {TITLES[container]} and is {_losses(facts, lost)}."
        yield Finding("foreign", "error", facts, text, advice.foreign(container, inside))
        return
    if not facts.in_weights:
        if lost or unlearned:
            text = f"{where} is {_losses(facts, lost)}."
            yield Finding("untracked", "error", facts, text, advice.hidden(facts, framework, holder))
        return
    if lost:
        first = _FIRST_SAVER.get(framework)
        severity: Severity = "error" if first is None or first in lost else "warning"
        fix = advice.SAME_NAME if _has_namesake(measured, facts) else advice.lost(facts, framework, holder, lost)
        text = f"{where} is not restored by {_savers(framework, lost)}."
        yield Finding("lost", severity, facts, text, fix)
    if facts.merged_by and _is_factor(facts):
        text = f"{where} is merged into what it adapts by {_savers(framework, facts.merged_by)}: the sum comes back."
        yield Finding("merged", "info", facts, text, advice.MERGED)
    yield from _of_training(measured, facts, key, where)


def _is_factor(facts: Facts) -> bool:
    return "lora_" in (facts.held_at or facts.variable).rpartition(".")[2]


def _of_training(measured: Measured, facts: Facts, key: int, where: str) -> Iterator[Finding]:
    training = measured.training
    optimized = key in training.optimized
    if key in training.stale:
        text = f"{where} is not trainable now, and a training step of the compiled model still changes it."
        yield Finding("stale-trainable", "error", facts, text, advice.STALE_TRAINABLE)
    elif training.problem is not None and optimized and key not in training.known:
        text = f"{where} cannot be trained: {training.problem}."
        yield Finding("stale-optimizer", "error", facts, text, advice.STALE_OPTIMIZER)
    elif facts.used is False and (facts.trainable or facts.made_by in OWN_CALLS):  # not what a layer keeps for itself
        yield Finding("orphan", "warning", facts, f"{where} is never used.", advice.ORPHAN)
    elif optimized and facts.trainable and facts.trained is False:
        if training.connected is not None and key in training.connected:
            text, fix = f"{where} is trainable and a training step as compiled does not change it.", advice.NO_LOSS
        else:
            text, fix = f"{where} is trainable and no gradient reaches it.", advice.UNTRAINED
        yield Finding("untrained", "warning", facts, text, fix)


def _has_namesake(measured: Measured, facts: Facts) -> bool:
    return sum(other.variable == facts.variable for other in measured.facts if other.in_weights) > 1


def _where(facts: Facts) -> str:
    text = facts.held_at or facts.variable
    if facts.created_at is not None:
        text += f" (made at {facts.created_at} by {facts.made_by} in {facts.method})"
    return text


def _losses(facts: Facts, lost: tuple[str, ...]) -> str:
    words = [] if facts.in_weights else ["not among the weights"]
    if lost:
        words.append(f"not restored by {' or '.join(lost)}")
    if facts.trainable and facts.trained is False:
        words.append("not trained")
    return ", ".join(words)


def _savers(framework: str, lost: tuple[str, ...]) -> str:
    names = [CALLS.get((framework, saver), "tf.train.Checkpoint") for saver in lost]
    return " or ".join(names) if is_keras(framework) else names[0]
