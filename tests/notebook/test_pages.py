"""What a notebook shows of a result: the same as the terminal, as HTML that stands for itself and stays small."""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ckptkit
from ckptkit.api.convert import Converted
from ckptkit.api.inspect import Inspection
from ckptkit.api.load_into import Loaded
from ckptkit.api.proposal import Proposal, Remapped
from ckptkit.auditing.findings import Audit, Finding
from ckptkit.compare import Tolerance
from ckptkit.differences.result import Diff, LayerChange, PairDiff, Totals
from ckptkit.display import Displayed, Result
from ckptkit.drifting.result import Drift, VariableDrift
from ckptkit.matching.result import Ambiguous, Candidate, Match, Pair, Unmatched
from ckptkit.model import Checkpoint, CheckpointSpec, Layer, TensorSpec, Variable
from ckptkit.plans import Plan, Read, Step
from ckptkit.report.pages import PAGES
from ckptkit.verification.result import Conditions, OutputComparison, VerifyResult
from tests.conftest import FIXTURES

SINGLE = FIXTURES / "single-h5" / "single.h5"
DOUBLE = FIXTURES / "double-h5" / "double.h5"

_VOID = {"br", "hr", "img", "input", "meta", "link"}
_ALLOWED = {"div", "style", "p", "span", "table", "thead", "tbody", "tr", "th", "td"}


class Fragment(HTMLParser):
    """A fragment's tags, attributes and text; refuses what is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.rows = 0
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        assert tag not in _VOID
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def shown(result: Displayed) -> Fragment:
    html = result._repr_html_()
    fragment = Fragment(html)
    assert set(fragment.tags) <= _ALLOWED
    assert {name for name, _ in fragment.attributes} <= {"class", "scope"}
    assert fragment.tags.count("style") == 1
    assert html.startswith('<div class="ckptkit">')
    return fragment


def headline(result: Displayed) -> str:
    return result._repr_mimebundle_()["text/plain"]


def variables(count: int, name: str = "layer_{}/kernel") -> tuple[Variable, ...]:
    names = [name.format(number) for number in range(count)]
    return tuple(
        Variable(each, each, (), each.rpartition("/")[0], "kernel", "weight", None, (2, 3), "float32", 24)
        for each in names
    )


def results(count: int, name: str = "layer_{}/kernel") -> list[Displayed]:
    """One result of each class about `count` variables with such names."""
    found = variables(count, name)
    names = [variable.name for variable in found]
    layers = tuple(Layer(variable.layer, "Dense", (variable.name,)) for variable in found)
    spec = CheckpointSpec(name, "npz", name, "natural", layers, found, notes=(name,), damage=(name,))
    unmatched = tuple(Unmatched(each, (Candidate(each, name),)) for each in names)
    pairs = tuple(PairDiff((v,), (v,), ("name",), "shape", None, name) for v in found)
    changes = tuple(LayerChange(v.layer, v.layer, "different", None, 0.0, v.name, 1) for v in found)
    nobody = (Ambiguous(tuple(names), tuple(names), name),)
    plan = Plan(
        name, name, "auto", None,
        tuple(Step(TensorSpec(e, (2, 3), "float32"), e, Read(e, (2, 3), "float32"), (e,), (e,)) for e in names),
        unexpected=tuple(names),
    )  # fmt: skip
    outputs = tuple(
        OutputComparison(e, (2,), 1.0, (0,), 1.0, 1.0, None, None, 1e-7, 1e-6, 0.0, passed=False) for e in names
    )
    return [
        Checkpoint(spec, source=None),  # type: ignore[arg-type]
        Inspection(spec, found, problems={each: each for each in names}),
        Diff(
            name, name, "auto", None, Tolerance(), "different", pairs, unmatched, unmatched, (), (), changes,
            Totals(count, 0, 0, count, count, 0, count, count, 0, 0),
        ),
        Match("auto", tuple(Pair((e,), (e,), ("name",)) for e in names), unmatched, unmatched, nobody),
        plan,
        Proposal(plan),
        Remapped(plan, name, count, 0),
        Converted(name, "npz", count, tuple(names), (name,), tuple(names), name),
        Loaded(tuple((e, (e,)) for e in names), tuple(names), tuple(names), name),
        VerifyResult(name, name, Conditions(8, 1, 0, ("CPU", "CPU"), False, 4.0), outputs, notes=tuple(names)),
        Audit(name, "keras", (), tuple(Finding("lost", "error", None, e, e, subject=e) for e in names), (name,)),
        Drift(
            (name, name), (name, name),
            tuple(VariableDrift(e, "weight", (2,), "float32", (True, True), (0.0,), "frozen", False, e, e) for e in names),
            (name,),
        ),
    ]  # fmt: skip


def test_every_class_that_has_a_page_is_here() -> None:
    assert {type(result).__name__ for result in results(1)} == set(PAGES)
    assert {kind.__name__ for kind in Displayed.__subclasses__()} == set(PAGES)


def test_every_result_is_data_and_a_report() -> None:
    for result in results(3):
        if not isinstance(result, Checkpoint | Plan):  # what results are made of
            assert inspect.signature(type(result).to_json) == inspect.signature(Result.to_json), result
            assert json.loads(json.dumps(result.to_json(), allow_nan=False))["schema"].startswith("ckptkit.")
        if not isinstance(result, Diff | Plan | Proposal | Remapped):  # their files are looked at again
            assert result.to_html().startswith("<!doctype html>")


@pytest.mark.parametrize("place", range(len(PAGES)), ids=sorted(PAGES))
def test_the_attribute_that_has_all_of_it_is_there(place: int) -> None:
    result = results(3)[place]
    value: object = result
    for name in PAGES[type(result).__name__].whole.split("."):
        value = getattr(value, name)
    assert len(value) == 3  # type: ignore[arg-type]


def test_what_is_shown_is_what_the_terminal_shows() -> None:
    with ckptkit.open(SINGLE) as checkpoint:
        page = shown(checkpoint)
        assert "2 layers with weights, 6,789 parameters" in headline(checkpoint)
    assert "kernel [100, 64] f32 · bias [64] f32" in page.text
    inspection = ckptkit.inspect(SINGLE, stats=True)
    assert "0.0298" in shown(inspection).text
    diff = ckptkit.diff(SINGLE, DOUBLE)
    assert headline(diff).startswith("DIFFERENT")
    assert "dense_1 → dense_3" in shown(diff).text
    assert headline(ckptkit.diff(SINGLE, SINGLE)).startswith("IDENTICAL")


def test_matches_and_plans(tmp_path: Path) -> None:
    match = ckptkit.match(SINGLE, DOUBLE)
    assert headline(match).startswith("COMPLETE   4 pairs")
    assert "dense_2/kernel←dense/kernelshape" in shown(match).text
    nothing = ckptkit.match(SINGLE, FIXTURES / "tf-keras-mlp-h5" / "model.h5")
    assert headline(nothing).startswith("INCOMPLETE")
    assert "near hidden/kernel: another shape [7, 5]" in shown(nothing).text
    proposal = ckptkit.plan(SINGLE, DOUBLE)
    assert "nothing written yet" in shown(proposal).text
    assert headline(proposal) == headline(proposal.plan)
    assert "4 moved, 0 kept" in shown(proposal.apply(tmp_path / "out.h5")).text


def test_a_page_says_attributes_and_no_options() -> None:
    """Who reads it holds the result and typed no command."""
    for result in results(300):
        assert "--" not in shown(result).text, type(result)
    slots = FIXTURES / "tf1-layers-adam" / "model.ckpt-9000"
    with ckptkit.open(slots) as checkpoint:
        assert ".spec.variables has all" in shown(checkpoint).text


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert({})</script>/k",
        "</td></table></div><img src=x onerror=alert({})>/k",
        "\"'><b>{}/k",
        "&lt;script&gt;{}/k",
        "</style>{}/k",
        "\u202e\x1b[2J\x00{}/k",
        "{{{{ {} }}}}{{% x %}}/k",
    ],
)
def test_a_hostile_name_stays_text(name: str) -> None:
    for result in results(2, name):
        fragment = shown(result)  # refuses every tag that is not one of ours
        assert all(character.isprintable() or character == "\n" for character in fragment.text)
        assert headline(result).isprintable()
        visible = name.format(1).rpartition("/")[0]
        if visible.isprintable():
            assert visible in fragment.text, type(result)


@pytest.mark.slow
def test_pages_of_100_000_variables_are_small_and_come_soon() -> None:
    for result in results(100_000):
        started = time.process_time()
        html = result._repr_html_()
        seconds = time.process_time() - started
        assert len(html) < 250_000, type(result)
        assert "has all" in html or "more" in html, type(result)
        assert seconds < 60, (type(result), seconds)  # not one that hangs; how fast is for the benchmarks
        assert len(headline(result)) < 3_000, type(result)


def test_a_long_name_is_shortened() -> None:
    long = replace(variables(1)[0], name="x" * 100_000, key="x" * 100_000, layer="")
    spec = CheckpointSpec("a.npz", "npz", None, "natural", (), (long,))
    assert len(Checkpoint(spec, source=None)._repr_html_()) < 10_000  # type: ignore[arg-type]


def test_neither_a_result_nor_its_page_loads_rich() -> None:
    import subprocess
    import sys

    from tests.conftest import ROOT

    program = (
        f"import sys, ckptkit\nwith ckptkit.open({str(SINGLE)!r}) as c:\n assert not any('ckptkit.report' in m for m in"
        " sys.modules)\n c._repr_html_()\nassert not {'rich', 'IPython', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(ROOT)})
