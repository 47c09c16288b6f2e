"""What became of a pair of files whose truth is known: right, refused, wrong or dropped.

A case is a folder: `case.json` names the files and the options of `ckptkit.plan`, the source and the target lie beside
it, and the truth is a third checkpoint in the target's container that holds the values which the target should get;
or the target itself, where both files hold the same values and only what pairs with what is asked.
Nothing here needs a framework, so that a folder of cases is graded again in seconds.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import ckptkit
from ckptkit.execute import evaluate

CASE = "case.json"
VERDICTS = ("right", "refused", "wrong", "dropped", "crash")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One graded case.

    Attributes:
        status: `right`: every value is the truth; `refused`: an error of ckptkit instead of a plan; `wrong`: a value
            that is not the truth; `warned`: the same where the plan says of each that only an order speaks for it;
            `dropped`: a weight that the source holds keeps the template's value; `crash`: any
            other exception.
        detail: what was wrong, or the message.
    """

    status: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Files of a case, and what is known of them.

    Attributes:
        name: its folder's path below the folder of all cases.
        source: where the values are.
        target: the template.
        truth: the target as it should become.
        options: keywords of `ckptkit.plan`.
        expect: verdicts that are good enough.
        known: what else the maker says of the pair.
    """

    name: str
    source: Path
    target: Path
    truth: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    expect: tuple[str, ...] = ("right",)
    known: Mapping[str, Any] = field(default_factory=dict)


def write_case(folder: Path, source: str, target: str, truth: str, **more: Any) -> None:
    """Describe the files in `folder`; the names are relative to it."""
    (folder / CASE).write_text(json.dumps({"source": source, "target": target, "truth": truth, **more}, indent=1))


def read_cases(root: Path, wanted: Iterable[str] = ()) -> Iterator[Case]:
    """The cases below `root` whose names start with one of `wanted`; all of them without any."""
    starts = tuple(wanted)
    for path in sorted(root.rglob(CASE)):
        name = path.parent.relative_to(root).as_posix()
        if starts and not name.startswith(starts):
            continue
        data = json.loads(path.read_text())
        files = {key: path.parent / data[key] for key in ("source", "target", "truth")}
        yield Case(name, **files, options=data.get("options", {}), expect=tuple(data.get("expect", ["right"])),
                   known=data.get("known", {}))  # fmt: skip


def grade(case: Case) -> Verdict:
    """Plan the case and compare what the plan's steps give with the truth, value by value."""
    unknown = set(case.options) - set(inspect.signature(ckptkit.plan).parameters)
    if unknown:
        return Verdict("refused", f"ckptkit.plan has no {', '.join(sorted(unknown))}")
    try:
        plan = ckptkit.plan(case.source, case.target, **case.options).plan
    except ckptkit.CkptkitError as error:
        return Verdict("refused", str(error))
    except Exception as error:  # noqa: BLE001 - that is what is graded
        return Verdict("crash", repr(error))
    with ckptkit.open(case.source) as source, ckptkit.open(case.target) as like, ckptkit.open(case.truth) as truth:
        made = {step.target.name: evaluate(step.op, lambda name: source[name].read()) for step in plan.steps}
        wrong = []
        for name, value in made.items():
            wanted = truth[name].read()
            if value.shape != wanted.shape or not np.allclose(value, wanted, rtol=1e-5, atol=1e-6):
                wrong.append(name)
        if wrong:
            rests = {step.target.name: step.evidence for step in plan.steps}
            warned = all(any("order" in word for word in rests[name]) for name in wrong)
            status = "warned" if warned else "wrong"
            return Verdict(status, f"{len(wrong)} of {len(made)}: {', '.join(wrong[:4])}")
        kept = [name for name in like if name not in made and like[name].dtype != "string"]
        if case.truth == case.target:
            there = {source[name].read().tobytes() for name in source if source[name].dtype != "string"}
            values = {name: like[name].read() for name in kept}
            dropped = [name for name, value in values.items() if value.size > 1 and value.tobytes() in there]
        else:
            dropped = [name for name in kept if not np.array_equal(like[name].read(), truth[name].read())]
    return Verdict("dropped", f"{len(dropped)}: {', '.join(dropped[:4])}") if dropped else Verdict("right")


def graded(cases: Iterable[Case], *, verbose: bool = True) -> Counter[tuple[str, str]]:
    """Grade all, print a line each and the sums.

    Returns:
        How many, by what is known of the pair (`words, order`; empty where the maker says nothing) and verdict.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for case in cases:
        verdict = grade(case)
        counts[described(case), verdict.status] += 1
        if verbose:
            mark = "ok   " if verdict.status in case.expect else "SHORT"
            detail = verdict.detail[:300].replace("\n", " ")
            print(mark, case.name, *map(str, case.known.values()), verdict.status, detail, flush=True)
    return counts


def described(case: Case) -> str:
    """What both files hold, in words; empty where the case does not say."""
    if "user_words" not in case.known:
        return ""
    words = "the user's words in both" if all(case.known["user_words"]) else "words missing"
    return f"{words}, {'call order kept' if all(case.known['call_order']) else 'order lost'}"


def shown(counts: Counter[tuple[str, str]]) -> str:
    """The sums as lines of text, all together first."""
    lines = [("all", Counter[str]())]
    for group in sorted({group for group, _ in counts} - {""}):
        lines.append((group, Counter({verdict: n for (known, verdict), n in counts.items() if known == group})))
    for (_, verdict), n in counts.items():
        lines[0][1][verdict] += n
    return "\n".join(
        f"{group}: " + ", ".join(f"{n} {verdict}" for verdict in VERDICTS if (n := sums[verdict]))
        for group, sums in lines
    )


if __name__ == "__main__":  # python -m tests.matching.grading DIR [CASE…]: grade cases that were made before
    import sys

    print(shown(graded(read_cases(Path(sys.argv[1]), sys.argv[2:]))))
