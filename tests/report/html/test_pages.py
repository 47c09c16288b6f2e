"""A report says what was found, and a name in it stays a name."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest

from ckptkit.errors import printable
from ckptkit.report.html.render import MARKER
from tests.report.html.samples import HOSTILE, Page, audited, diffed, drifted, inspected, verified

NUMBERS = np.arange(12, dtype="f4").reshape(3, 4)


def pages(folder, name: str) -> dict[str, str]:
    """A report of each kind in which `name` is the name of something."""
    key = name.replace("\x00", "")[:200]  # what a ZIP member can be called
    return {
        "diff": diffed(folder, {f"{key}/kernel": NUMBERS, "gone": NUMBERS}, {f"{key}/kernel": NUMBERS + 1}),
        "inspect": inspected(folder / "a.npz"),
        "verify": verified(name),
        "audit": audited(name),
        "drift": drifted(name),
    }


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_stay_text(tmp_path, name) -> None:
    plain = {command: Page(text) for command, text in pages(tmp_path, "plain").items()}
    for command, text in pages(tmp_path, name).items():
        page = Page(text)
        tags = [tag for tag, _ in page.elements if tag in ("script", "style", "img", "iframe", "link", "object")]
        assert tags == ["style", "script"], command
        assert not [key for _, found in page.elements for key in found if key.startswith("on")], command
        scoped = {"i", "bdi"}  # a name with a slash has a scope, which stands in these
        assert {tag for tag, _ in page.elements} - scoped == {tag for tag, _ in plain[command].elements} - scoped, (
            command
        )
        assert printable(name)[:60].rstrip() in page.shown, command
        assert not set(text) & {"\u202e", "\u2028", "\x1b"}, command


def test_a_page_needs_nothing_else_and_runs_nothing_else(tmp_path) -> None:
    for text in pages(tmp_path, "plain").values():
        assert text.startswith(MARKER)
        page = Page(text)
        for tag, found in page.elements:
            assert found.keys().isdisjoint({"src", "srcset", "action", "style", "data", "poster"}), tag
            assert (found.get("href") or "#").startswith("#"), tag
        assert not re.search(r"https?:|url\(|@import", text)
        policy = next(found["content"] for tag, found in page.elements if "http-equiv" in found)
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag in ("style", "script"):
            content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S)[1]
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy


def test_landmarks_headings_and_names_of_controls(tmp_path) -> None:
    page = Page(diffed(tmp_path, {"x/kernel": NUMBERS}, {"x/kernel": NUMBERS + 1}))
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert page.count(tag) == 1, tag
    assert page.count("html", lang="en") == 1
    assert page.count("a", **{"class": "skip"}) == 1
    assert page.count("label", **{"for": "filter"}) == 1
    labels = [found["aria-labelledby"] for _, found in page.elements if "aria-labelledby" in found]
    named = {found.get("id") for _, found in page.elements}
    assert labels
    assert set(labels) <= named
    anchors = [found["href"][1:] for tag, found in page.elements if tag == "a"]
    assert set(anchors) <= named


def test_the_same_result_is_the_same_page(tmp_path) -> None:
    assert pages(tmp_path, "plain") == pages(tmp_path, "plain")


def test_a_diff_says_what_differs_and_draws_it(tmp_path) -> None:
    rng = np.random.default_rng(0)
    a = {f"scope/dense_{n}/kernel": rng.normal(size=(8, 9)).astype("f4") for n in range(3)} | {"left": NUMBERS}
    b = {name: value.copy() for name, value in a.items() if name != "left"} | {"right/kernel": NUMBERS[:2]}
    b["scope/dense_1/kernel"][0, 0] = np.nan
    b["scope/dense_2/kernel"] += 1
    page = Page(diffed(tmp_path, a, b))
    assert "2 of 3 paired variables differ, 1 only in a, 1 only in b." in page.shown
    assert "NaN: 0 in a, 1 in b" in page.shown
    assert page.count("path", **{"class": "area"}) == 3
    assert page.count("path", **{"class": "edge"}) == 2  # one for both where they are equal
    assert page.count("path", **{"class": "link name"}) == 4  # one of them in the legend
    assert page.count("details", open=None) >= 1
    assert "left" in page.shown.split("Only in a")[-1]


def test_a_swap_is_drawn(tmp_path) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4, 4)).astype("f4")
    a = {"x/kernel": one, "y/kernel": other}
    page = Page(diffed(tmp_path, a, {"x/kernel": other, "y/kernel": one}))
    assert page.count("path", **{"class": "link swap"}) == 3
    assert "x → y: holds what the other one has in b" in page.shown


def test_a_thousand_variables_stay_below_a_megabyte(tmp_path) -> None:
    rng = np.random.default_rng(0)
    a = {f"encoder/block_{n}/{part}": rng.normal(size=(40, 9)) for n in range(500) for part in ("kernel", "bias")}
    text = diffed(tmp_path, a, {name: value + rng.normal(size=value.shape) for name, value in a.items()})
    assert text.count("<tr>") == 1001
    assert text.count("class=area") == 1000
    assert len(text.encode()) < 1_000_000


def test_what_is_not_listed_is_counted(tmp_path, monkeypatch) -> None:
    from ckptkit.report.html import difference, flow, layers

    monkeypatch.setattr(difference, "MOST_ROWS", 5)
    monkeypatch.setattr(layers, "MOST_LEAVES", 6)
    monkeypatch.setattr(flow, "_MOST_ROWS", 7)
    a = {f"layer_{n}/kernel": NUMBERS for n in range(20)}
    b = {name: value + n for n, (name, value) in enumerate(a.items())}
    shown = Page(diffed(tmp_path, a, b)).shown
    assert "… and 15 pairs" in shown
    assert "… and 14 layers" in shown
    assert "… and 13 layers more" in shown
    assert shown.count("--filter GLOB narrows") == 3
    assert shown.index("layer_19/kernel") < shown.index("layer_15/kernel")


def test_paths_of_thousands_of_scopes_are_no_recursion(tmp_path) -> None:
    from ckptkit.report.html.document import Node
    from ckptkit.report.html.layers import Leaf, grow

    deep = "/".join("x" * 5000)
    leaves = [Leaf(deep + end, Node(""), 1.0) for end in "ab"]
    (node,) = grow(leaves, lambda leaves: Node("", detail=str(len(leaves))))
    assert [child.label[-1] for child in node.children] == ["a", "b"]
    assert node.detail == "2"


def test_scopes_are_joined_and_own_variables_kept() -> None:
    from ckptkit.report.html.document import Node
    from ckptkit.report.html.layers import Leaf, grow

    leaves = [Leaf(path, Node(""), 1.0) for path in ("a/b/c", "a/b/d/e", "a/b", "f/g")]
    top = grow(leaves, lambda leaves: Node(""))
    assert [node.label for node in top] == ["a/b", "f/g"]
    assert [node.label for node in top[0].children] == ["b (itself)", "c", "d/e"]


def test_a_verification_shows_where_models_part() -> None:
    failed, passed = Page(verified()), Page(verified(passed=True))
    assert "FAIL" in failed.shown
    assert "layer dense" in failed.shown
    assert "Reset_after differs." in failed.shown
    assert "PASS" in passed.shown
    assert "Where they part" not in passed.shown
    assert [found["x1"] for tag, found in failed.elements if tag == "line"][0] == "70%"


def test_an_audit_shows_the_line_the_advice_and_the_matrix() -> None:
    page = Page(audited())
    for text in (
        "1 ERROR",
        "net.py:7 · tf.Variable in build()",
        "Track block.w.",
        ".weights.h5 ✗ no",
        "✓ yes",
        "– not known",
    ):
        assert text in page.shown, text


def test_a_drift_puts_what_stands_still_first() -> None:
    page = Page(drifted())
    assert "FROZEN" in page.shown
    listed = page.shown.split("remarks")[-1]
    assert listed.index("late/kernel") < listed.index("moving/kernel")
    assert listed.index("frozen/kernel") < listed.index("moving/kernel")
    assert page.count("path", **{"class": "run"}) == 3
