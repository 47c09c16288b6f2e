"""Reports in a browser: what is clicked and typed, what is seen, and that nothing leaves the page."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from tests.report.html.samples import HOSTILE, audited, diffed, drifted, inspected, verified

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[test]')")

_CHROMIUM = os.environ.get("CKPTKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip


KINDS = ("inspect", "diff", "verify", "audit", "drift")


@pytest.fixture(scope="module")
def browser():
    if _CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (CKPTKIT_CHROMIUM names one)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Name -> file."""
    folder = tmp_path_factory.mktemp("reports")
    rng = np.random.default_rng(0)
    a = {f"encoder/block_{n}/{part}/kernel": rng.normal(size=(6, 7)) for n in range(3) for part in ("up", "down")}
    b = {name: value + ("block_1" in name) * (1 + ("up" in name)) for name, value in a.items()}
    a[f"{HOSTILE[0]}/kernel"] = b[f"{HOSTILE[0]}/kernel"] = np.arange(3.0)
    texts = {
        "diff": diffed(folder, a, b),
        "inspect": inspected(folder / "a.npz"),
        "verify": verified(HOSTILE[-1]),
        "audit": audited(HOSTILE[-1]),
        "drift": drifted(HOSTILE[-1]),
    }
    files = {}
    for name, text in texts.items():
        files[name] = folder / f"{name}.html"
        files[name].write_text(text, encoding="utf-8")
    return files


@pytest.fixture
def visit(browser, reports):
    """Opens a report; what went wrong in it is raised at the end."""
    contexts, troubles = [], []

    def open_(name="diff", width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append("dialog"))
        address = reports[name].as_uri()
        page.on("request", lambda request: request.url == address or troubles.append(request.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []


def rows(page):
    return page.locator("#variables tbody th code:visible").all_inner_texts()


@pytest.mark.parametrize("width", [1280, 1024, 901, 768, 375])
@pytest.mark.parametrize("name", KINDS)
def test_no_report_is_wider_than_its_window(visit, name, width) -> None:
    page = visit(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").is_visible()


def test_hostile_names_are_seen_as_they_are_spelt(visit) -> None:
    page = visit()
    assert page.locator("code", has_text=HOSTILE[0]).first.is_visible()
    assert page.locator("script").count() == 1


def test_the_filter_narrows_tables_and_tree(visit) -> None:
    page = visit()
    everything = len(rows(page))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("BLOCK_1 up")
    assert rows(page) == ["encoder/block_1/up/kernel"]
    assert page.locator(".leaf:visible").count() == 1
    assert page.locator("#found").inner_text() == "2 of 14 rows"
    page.keyboard.press("Escape")
    assert len(rows(page)) == everything
    assert page.locator("#filter").input_value() == ""
    assert page.locator("#found").inner_text() == ""


def test_the_filter_leaves_folds_as_they_were(visit) -> None:
    page = visit()
    state = "[...document.querySelectorAll('details')].map((fold) => fold.open)"
    before = page.evaluate(state)
    assert True in before
    assert False in before
    page.fill("#filter", "block_0")
    assert page.locator(".leaf:visible").count() == 2
    page.fill("#filter", "")
    assert page.evaluate(state) == before


def test_folding_by_button_and_by_keyboard(visit) -> None:
    page = visit()
    page.click("#fold")
    assert page.locator(".leaf:visible").count() == 1  # the hostile one, which is in no scope
    page.click("#unfold")
    assert page.locator(".leaf:visible").count() == 7
    page.locator(".tree summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".leaf:visible").count() == 1


def test_sorting_by_number_and_by_name(visit) -> None:
    page = visit()
    changes = "[...document.querySelectorAll('#variables tbody tr')].map((row) => Number(row.cells[2].innerText))"
    head = page.locator("#variables thead th", has_text="change")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    falling = page.evaluate(changes)
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > falling[-1]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(changes) == falling[::-1]
    name = page.locator("#variables thead th", has_text="variable")
    name.locator("button").click()
    assert (name.get_attribute("aria-sort"), head.get_attribute("aria-sort")) == ("ascending", "none")
    named = [each for each in rows(page) if each.startswith("encoder")]
    assert named == sorted(named)


_CONTRAST = """
() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const worst = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, script")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.push(`${element.tagName} ${element.className} ${element.textContent.slice(0, 20)} ${ratio}`);
  }
  return worst;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", KINDS)
def test_all_text_has_contrast(visit, name, scheme) -> None:
    page = visit(name, scheme=scheme)
    if page.locator("#unfold").is_visible():
        page.click("#unfold")
    assert page.evaluate(_CONTRAST) == []


def test_the_theme_follows_the_reader_and_then_the_button(visit) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(), visit(scheme="dark")
    assert light.evaluate(ground) != dark.evaluate(ground)
    assert [page.get_attribute("#theme", "aria-pressed") for page in (light, dark)] == ["false", "true"]
    light.click("#theme")
    assert light.evaluate(ground) == dark.evaluate(ground)
    assert light.get_attribute("#theme", "aria-pressed") == "true"


def test_paper_shows_everything_and_no_controls(visit) -> None:
    page = visit(scheme="dark")
    page.click("#fold")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".leaf:visible").count() == 7
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator(".leaf:visible").count() == 1


def test_the_first_tab_is_the_way_to_the_content(visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
