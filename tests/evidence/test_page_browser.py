"""A page in a real Chromium, from a file, without a network: it verifies itself, and says so when it does not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from evidence_runs import DAY, START, Story, planned
from pages import OF_WEEK06, bad, good, ledger_of, page_of
from playwright.sync_api import Browser

from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.making import Page, make_page
from run_evidence.ledger import Ledger
from tests.browser import chromium, opened
from tests.trust.ledgers import VKEY

pytestmark = [pytest.mark.browser, pytest.mark.soak]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from chromium()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a signed ledger of a run that passed, and of one before it that failed."""
    return ledger_of(tmp_path_factory.mktemp("pages") / "ledger", bad("before", START - 86_400_000_000), good())


@pytest.fixture(scope="module")
def page(ledger: Ledger) -> Page:
    return page_of(ledger)


def told(browser: Browser, html: bytes, file: Path) -> tuple[str, str]:
    """Return the state that a page gave itself, and its text."""
    file.write_bytes(html)
    with opened(browser, file) as shown:
        box = shown.locator("#seal")
        return box.get_attribute("data-state") or "", box.inner_text()


def test_it_verifies_itself_and_says_which_key_it_trusts(browser: Browser, page: Page, tmp_path: Path) -> None:
    state, says = told(browser, page.html, tmp_path / "page.html")
    assert state == "good", says
    assert VKEY in says
    assert "Compare" in says


@pytest.mark.parametrize("asked", [Asked(run_id="before"), Asked(release_id="r1")], ids=str)
def test_so_does_that_of_a_failed_run_and_of_a_release(
    browser: Browser, ledger: Ledger, asked: Asked, tmp_path: Path
) -> None:
    state, says = told(browser, make_page(ledger, asked, OF_WEEK06).html, tmp_path / "page.html")
    assert state == "good", says


def test_what_nobody_signed_is_never_green(browser: Browser, tmp_path: Path) -> None:
    state, says = told(browser, page_of(ledger_of(tmp_path / "l", good(), signed=False)).html, tmp_path / "p.html")
    assert state == "amber", says
    assert "not signed" in says


def test_without_its_script_it_is_amber(browser: Browser, page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(page.html)
    with opened(browser, tmp_path / "page.html", script=False) as shown:
        assert shown.locator("#seal").get_attribute("class") == "amber"
        assert "Not verified" in shown.locator("#seal").inner_text()
        assert "4 of 5 planned passed" in shown.locator("main").inner_text()


# --- whatever is changed turns it red ---------------------------------------------------------------------

_TEXT = re.compile(rb">([^<>]*[A-Za-z0-9][^<>]*)<")


def edits(html: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield pages with one letter or digit of what is shown changed, at random places, and what was changed."""
    chosen = random.Random(seed)  # noqa: S311 - no secret
    begin, end = html.index(b"<main"), html.index(b"</main>")
    box = html.index(b'<div id="seal"')
    after_box = html.index(b"</div>", box)
    places = [
        at
        for found in _TEXT.finditer(html, begin, end)
        for at in range(*found.span(1))
        if html[at : at + 1].isalnum() and not box < at < after_box and b"&" not in found[1]
    ]
    for at in chosen.sample(places, count):
        other = b"7" if html[at : at + 1] != b"7" else b"3"
        yield html[at - 20 : at + 20].decode("utf-8", "replace"), html[:at] + other + html[at + 1 :]


def packed(html: bytes, name: str) -> tuple[int, int]:
    begin = html.index(f'id="{name}">'.encode()) + len(name) + 5
    return begin, html.index(b"</script>", begin)


def test_every_edit_turns_it_red_and_names_an_entry(browser: Browser, page: Page, tmp_path: Path) -> None:
    """Digits, states, reasons, names, anywhere on the page."""
    for what, html in edits(page.html, 40, seed=1):
        state, says = told(browser, html, tmp_path / "page.html")
        assert state == "bad", (what, says)
        assert re.search(r"Entry [0-9]+", says), (what, says)


def test_the_entry_named_is_the_one_that_the_changed_value_rests_on(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    items = page.document["items"]
    item = next(each for each in items if each["check_name"])
    index = item["basis"][0]["entry"]
    before = f">{item['outcome']}<".encode()
    assert page.html.count(before) >= 1
    _, says = told(browser, page.html.replace(before, b">check_failed<"), tmp_path / "page.html")
    assert f"Entry {index}: it shows" in says


def test_a_changed_document_proof_or_key_turns_it_red(browser: Browser, page: Page, tmp_path: Path) -> None:
    """Random bytes of what it carries, and another key: whatever a reader is shown then is not vouched for."""
    chosen = random.Random(3)  # noqa: S311 - no secret
    for name in ("document", "proof"):
        begin, end = packed(page.html, name)
        for at in chosen.sample(range(begin, end - 4), 6):
            other = b"A" if page.html[at : at + 1] != b"A" else b"B"
            state, says = told(browser, page.html[:at] + other + page.html[at + 1 :], tmp_path / "page.html")
            assert state == "bad", (name, at, says)
    state, _ = told(browser, page.html.replace(VKEY.encode(), VKEY[:-6].encode() + b"AAAAA="), tmp_path / "k.html")
    assert state == "bad"


@pytest.mark.soak
@pytest.mark.parametrize("entries", range(1, 34, 3))
def test_the_tree_is_calculated_as_here_whatever_its_shape(browser: Browser, entries: int, tmp_path: Path) -> None:
    """Runs before and after it give the multi-proof and the growth of the log another shape each time."""
    others = [bad(f"other-{n}", START - (n + 1) * 1_000_000) for n in range(entries)]
    ledger = ledger_of(tmp_path / "ledger", *others[: entries // 2], good(), *others[entries // 2 :])
    state, says = told(browser, page_of(ledger).html, tmp_path / "page.html")
    assert state == "good", says


# --- used as a reader uses it -----------------------------------------------------------------------------


def test_a_number_leads_to_its_entry_and_the_filter_to_its_rows(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_bytes(page.html)
    with opened(browser, tmp_path / "page.html") as shown:
        link = shown.locator("#items [data-entry]").first
        index = link.inner_text()
        link.click()
        assert f"Entry {index}" in shown.locator("#entry-where").inner_text()
        assert '"event_id"' in shown.locator("#entry-text").inner_text()
        shown.locator("#entry-close").click()
        shown.locator("#filter").fill("not_available")
        assert shown.locator("#items tbody tr:visible").count() == 1
        assert shown.evaluate("location.hash") == "#filter=not_available"


def test_no_serious_fault_of_accessibility(browser: Browser, page: Page, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    (tmp_path / "page.html").write_bytes(page.html)
    context = browser.new_context(bypass_csp=True, offline=True)
    shown = context.new_page()
    shown.goto((tmp_path / "page.html").as_uri())
    found = Axe().run(shown).response["violations"]
    context.close()
    assert [(each["id"], each["help"]) for each in found if each["impact"] in {"serious", "critical"}] == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_screen_is_too_narrow_for_it(browser: Browser, tmp_path: Path, width: int) -> None:
    """Nothing sticks out at the side, however long a name is: wide tables scroll by themselves."""
    key = "a_name_without_any_place_at_which_it_could_be_broken_" * 3
    story = Story("long", job=key).plan([planned(key)], {}).failed(key, key * 2).end("failed").close()
    made = make_page(ledger_of(tmp_path / "ledger", story), Asked(product=key, partition=DAY))
    (tmp_path / "page.html").write_bytes(made.html)
    with opened(browser, tmp_path / "page.html", width=width) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.evaluate("document.querySelector('h1').scrollWidth") <= width


A4_AT_96_DPI = 794
COLOURS = """(() => {
    const page = getComputedStyle(document.body), mark = getComputedStyle(document.querySelector("td.passed"));
    return [page.color, page.backgroundColor, mark.color];
})()"""


@pytest.mark.parametrize("background", ["light", "dark"])
def test_it_can_be_printed(
    browser: Browser, page: Page, tmp_path: Path, background: Literal["light", "dark"]
) -> None:
    """Dark on white whatever the screen has, no wider than paper, without what only a screen can use."""
    (tmp_path / "page.html").write_bytes(page.html)
    with opened(browser, tmp_path / "page.html", width=A4_AT_96_DPI) as shown:
        shown.emulate_media(media="print", color_scheme=background)
        assert shown.evaluate("document.documentElement.scrollWidth") <= A4_AT_96_DPI
        assert shown.evaluate(COLOURS) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)", "rgb(26, 127, 75)"]
        assert shown.locator("#filter:visible").count() == 0
        assert "119" in shown.locator("main").inner_text()
        shown.screenshot(path=tmp_path / "printed.png", full_page=True)
        assert shown.pdf(format="A4").startswith(b"%PDF")
