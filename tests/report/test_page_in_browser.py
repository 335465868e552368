"""The report's page in Chromium: it runs without errors, follows its slider, and fits phones, dark screens and keys.

Needs Debian's ``chromium`` (or Chrome) and ``playwright`` of the dev extra; skipped where either is missing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sppcli.cli.main import main
from tests.conftest import Voc, build_voc
from tests.small_artefacts import Found, write_detections
from tests.stages.test_report import HOSTILE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install sppcli[dev])")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (apt-get install chromium)")

CLASSES = ("disc", "square", HOSTILE)


def detections(voc: Voc) -> dict[str, list[Found]]:
    """Each object found with a score of its own, and false positives between these scores."""
    found: dict[str, list[Found]] = {}
    score = 0.99
    for name in voc.ids:
        found[name] = []
        for thing in voc.things[name]:
            found[name].append((thing.label, thing.box, score))
            found[name].append((CLASSES[0], (0, 0, 6, 6), score - 0.02))
            score -= 0.06
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Found]]]:
    folder = tmp_path_factory.mktemp("page")
    voc = build_voc(folder / "shapes", 6, classes=CLASSES, per_image=2, difficult_every=5)
    found = detections(voc)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_detections(Path("detections.h5"), voc, found, classes=CLASSES)
        assert main(["report", "-q", "--split", "all"]) == 0
    return folder / "report.html", found


def drawn(page: Any) -> None:
    """What was asked for is on the screen: it is drawn before the next picture is."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, report: tuple[Path, object], request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page in a window of its own; that nothing went wrong in it is checked at the end."""
    options = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
    opened.on("request", lambda sent: said.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
    opened.goto(report[0].as_uri())
    yield opened
    assert said == []
    assert opened.evaluate("typeof hacked") == "undefined"
    context.close()


def text(page: Any, selector: str) -> str:
    return page.locator(selector).inner_text()


def test_the_slider_moves_boxes_and_counts(page: Any, report: tuple[Path, dict[str, list[Found]]]) -> None:
    scores = [row[2] for rows in report[1].values() for row in rows]
    slider = page.locator("#range")
    slider.focus()
    page.keyboard.press("Home")
    drawn(page)
    assert text(page, "#value") == "0"
    shown = "#gallery g:not([hidden]):is(.right, .false, .ignored)"
    assert page.locator(shown).count() == len(scores)
    everything = text(page, "#recall"), text(page, "#precision")
    assert everything[0] == "100.0"
    seen = set()
    for _ in range(4):
        for _ in range(13):
            page.keyboard.press("ArrowRight")
        drawn(page)
        value = float(text(page, "#value"))
        seen.add(value)
        assert page.locator(shown).count() == sum(score >= value for score in scores)
        rows = [row.inner_text().split("\t") for row in page.locator("#counts tbody tr").all()]
        found, false, missed = (sum(int(row[i]) for row in rows) for i in (4, 5, 6))
        boxes = [page.locator(f"#gallery g{kind}").count() for kind in (".right:not([hidden])", ".false:not([hidden])")]
        assert [found, false] == boxes
        assert page.locator("#gallery g.truth.missed").count() == missed
        assert float(text(page, "#recall")) == pytest.approx(100 * found / (found + missed), abs=0.06)
        matrix = [
            [int(cell or 0) for cell in row.inner_text().split("\t")[1:]]
            for row in page.locator("#matrix tbody tr").all()
        ]
        assert sum(matrix[i][i] for i in range(3)) == found
        assert sum(map(sum, matrix)) == found + false + missed
        assert page.locator("#range").get_attribute("aria-valuetext") == f"{value:g}"
    assert len(seen) == 4
    page.keyboard.press("End")
    drawn(page)
    assert text(page, "#value") == "1"
    assert page.locator(shown).count() == 0
    page.get_by_role("button", name="Best F1").click()
    assert float(text(page, "#f1")) > 50


def test_marks_on_the_curves_follow(page: Any) -> None:
    def places() -> list[str]:
        marks = page.locator(".chart .cursor, .chart .point").all()
        return [f"{mark.get_attribute('transform')} {mark.get_attribute('cx')}" for mark in marks]

    before = places()
    page.locator("#range").fill("80")
    drawn(page)
    moved = [old != new for old, new in zip(before, places(), strict=True)]
    # Four charts over the threshold, whose lines all move; points move where something is no longer found.
    assert sum(moved) >= 5
    assert len(moved) == 7


def visible(page: Any, kind: str) -> int:
    shown = f"[...document.querySelectorAll('#gallery g.{kind}')].filter(e => getComputedStyle(e).display !== 'none')"
    return int(page.evaluate(f"{shown}.length"))


def test_what_is_drawn_can_be_chosen(page: Any) -> None:
    assert visible(page, "right") > 0
    assert visible(page, "difficult") == 0
    page.get_by_label("right", exact=True).uncheck()
    page.get_by_label("difficult object").check()
    assert visible(page, "right") == 0
    assert visible(page, "difficult") > 0
    page.get_by_label("right", exact=True).check()
    everything = visible(page, "right")
    page.get_by_role("combobox", name="class").select_option("square")
    assert 0 < visible(page, "right") < everything


def test_all_of_it_by_keyboard(page: Any) -> None:
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
        )
        stops.append(focused)
        if focused == "enlarge":
            break
    assert "range" in stops
    assert stops[-1] == "enlarge"
    page.keyboard.press("Enter")
    dialog = page.locator("#large")
    assert dialog.is_visible()
    first = text(page, "#large-title")
    assert re.search(r"\d found \d+ false \d missed", first)
    page.keyboard.press("ArrowRight")
    assert text(page, "#large-title") != first
    assert dialog.locator("img").is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "enlarge"


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 360, "height": 740}}, {}], indirect=True, ids=["phone", "desk"]
)
def test_no_sideways_scrolling(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Long names do not reach beyond the page either, but where tables scroll on their own.
    wide = page.evaluate(
        "[...document.querySelectorAll('main > *, h1, h2, h3, p, figure, fieldset')]"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


CONTRAST = """() => {
  const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)|transparent/.test(colour) && colour.startsWith("rgb")) return colour;
    }
    return "rgb(255,255,255)";
  };
  const ratio = (e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = "h1, h2, h3, p, th, td, dt, dd, small, a, button, label, figcaption span, b, summary";
  return [...document.querySelectorAll(texts)]
    .filter((e) => e.textContent.trim() && e.offsetParent && !e.closest("#matrix, .frame"))
    .map((e) => [ratio(e), e.outerHTML.slice(0, 80)])
    .filter(([value]) => value < 4.5);
}"""
"""Texts with less than WCAG's contrast of 4.5 to 1 to what is behind them."""


@pytest.mark.parametrize("page", [{"color_scheme": name} for name in ("light", "dark")], indirect=True)
def test_text_can_be_read(page: Any) -> None:
    assert page.evaluate(CONTRAST) == []


def test_light_and_dark_differ_and_paper_is_light(page: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == "rgb(20, 22, 26)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_outline_and_labels(page: Any) -> None:
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("svg.chart:not([aria-label])").count() == 0
    unnamed = page.evaluate("[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length")
    assert unnamed == 0
    assert page.evaluate("document.documentElement.lang") == "en"
