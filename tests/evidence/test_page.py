"""A page is bound to the log byte by byte, shows recorded text as text, and comes out the same every time."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evidence_runs import GATE, START, Story, planned
from pages import OF_WEEK06, RUN, bad, good, ledger_of, page_of

from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.making import Page, make_index, make_page
from run_evidence.ledger import IntegrityError, Ledger, UsageError, drawn_digests, read_trust
from run_evidence.ledger.proving.page_file import check_page
from tests.trust.ledgers import OTHER_KEY, VKEY, format_vkey

TRUST = read_trust([VKEY], [])


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a signed ledger of a run that passed, and of one before it that failed."""
    return ledger_of(tmp_path_factory.mktemp("pages") / "ledger", bad("before", START - 86_400_000_000), good())


@pytest.fixture(scope="module")
def page(ledger: Ledger) -> Page:
    return page_of(ledger)


class Structure(HTMLParser):
    """What elements there are, the text they show, and every value of an attribute."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.text, self.attributes = "", ""
        self._hidden = False
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += " ".join(f"{name}={value}" for name, value in attrs)
        self._hidden = tag in {"script", "style"}

    def handle_endtag(self, _: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


class Walk(HTMLParser):
    """What a foreign parser finds in `<main>` but for the seal, as docs/format.md has it for a browser."""

    VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._text, self._depth, self._seal = "", 0, 0
        self.feed(html.decode())
        self.sha256 = hashlib.sha256("\n".join(self._lines).encode()).hexdigest()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._depth or tag == "main":
            self._depth += tag not in self.VOID
            if not self._seal and dict(attrs).get("id") == "seal":
                self._end_text()
                self._seal = self._depth
            self._add([tag, sorted([name, value or ""] for name, value in attrs)])
            if tag in self.VOID:
                self._add([])

    def handle_endtag(self, _: str) -> None:
        if self._depth:
            self._add([])
            self._seal = 0 if self._seal == self._depth else self._seal
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        self._text += data if self._depth and not self._seal else ""

    def _end_text(self) -> None:
        self._lines += [json.dumps(self._text, ensure_ascii=False)] if self._text else []
        self._text = ""

    def _add(self, what: list[object]) -> None:
        if not self._seal:
            self._end_text()
            self._lines.append(json.dumps(what, ensure_ascii=False, separators=(",", ":")))


def test_what_is_drawn_is_what_a_foreign_parser_finds(tmp_path: Path, page: Page) -> None:
    """On a page of a run, of hostile text, and on an index."""
    hostile = ledger_of(tmp_path / "hostile", saying(HOSTILE))
    for made in (page, page_of(hostile), make_index(hostile)):
        assert made.document["drawn"]["main_sha256"] == Walk(made.html).sha256


@pytest.mark.parametrize(
    ("written", "instead"),
    [(b"<h1>", b"<h1><!-- -->"), (b"</h1>", b""), (b"<h1>", b"<H1>"), (b"<h1>", b"<h1>a < b"), (b"<main", b"<div")],
)
def test_other_html_is_not_taken_for_a_page_of_ours(page: Page, written: bytes, instead: bytes) -> None:
    assert drawn_digests(page.html)
    with pytest.raises(IntegrityError, match="was not drawn by this program"):
        drawn_digests(page.html.replace(written, instead, 1))


def test_a_page_checks_with_the_key_alone(page: Page) -> None:
    proven = check_page(page.html, TRUST)
    assert proven.vouched.signed_by == (VKEY,)
    assert proven.compared > 10
    with pytest.raises(IntegrityError, match="is signed by"):
        check_page(page.html, read_trust([format_vkey(OTHER_KEY.verifier())], []))


@pytest.mark.soak
def test_it_comes_out_the_same_however_the_ledger_grew_by_records_of_documents(ledger: Ledger, page: Page) -> None:
    assert page_of(ledger).html == page.html
    make_page(ledger, Asked(release_id="r1"), OF_WEEK06)
    assert page_of(ledger).html == page.html


def test_no_byte_of_it_can_be_changed(page: Page) -> None:
    """Neither what it shows, nor its script, nor its style, nor its document, nor its proof."""
    places = random.Random(7).sample(range(len(page.html)), 400)  # noqa: S311 - no secret
    for place in places:
        changed = bytearray(page.html)
        changed[place] ^= 1
        with pytest.raises(IntegrityError):
            check_page(bytes(changed), TRUST)


def test_nothing_can_be_added_or_taken_from_another_page(page: Page, ledger: Ledger) -> None:
    other = page_of(ledger, "before")
    begin, end = b'<script type="text/plain" id="document">', b"</script>"
    ours, theirs = (each.html.partition(begin)[2].partition(end)[0] for each in (page, other))
    place = b'<script type="text/plain" id="proof">'
    forged = {
        "text before it": b"<!DOCTYPE html><p>PROCEED" + page.html,
        "text after it": page.html + b"<p>PROCEED",
        "a style": page.html.replace(b"</head>", b"<style>h1{content:'PROCEED'}</style></head>"),
        "another document": page.html.replace(ours, theirs),
        "a second document": page.html.replace(place, begin + theirs + end + place),
        "no proof": page.html.replace(page.html.partition(place)[2].partition(end)[0], b""),
        "another page's drawing": other.html.replace(theirs, ours),
        "nothing": b"<!DOCTYPE html>",
    }
    for what, html in forged.items():
        assert html != page.html, what
        with pytest.raises(IntegrityError):
            check_page(html, TRUST)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x1b]52;c;x\x07",
    "\u202ereversed \u2066isolated",
    "x" * 10_000,
    "\u0639\u0631\u0628\u064a",
    "\U0001f4a7 \u00fcn\u00ef",
    "&lt;b&gt; &#60;i&#62; &nbsp",
    "javascript:alert(3)",
    "<!-- -->]]><![CDATA[",
)


def saying(texts: Sequence[str]) -> Story:
    """Return a run in which each text is the name of an asset, why it failed, and what was measured of another."""
    named = [f"shop/{number} {text[:200]}" for number, text in enumerate(texts)]
    story = Story(RUN, job=texts[0][:200], release_id=texts[1]).plan([planned(name) for name in named], {})
    for name, text in zip(named, texts, strict=True):
        story.failed(name, text, note=text, reason_codes=text)
    return story.end("failed").close()


def test_recorded_text_is_shown_as_text(tmp_path: Path) -> None:
    """The page has the same elements whatever a project recorded, and everything is there to be read."""
    plain = Structure(page_of(ledger_of(tmp_path / "plain", saying(["plain"] * len(HOSTILE)))).html)
    html = page_of(ledger_of(tmp_path / "hostile", saying(HOSTILE))).html
    found = Structure(html)
    assert found.elements == plain.elements
    assert not set(found.text + found.attributes) & set("\x1b\x07\u202e\u2066")
    for text in HOSTILE:
        assert not text.isprintable() or text[:150] in found.text
    assert check_page(html, TRUST).compared


def test_nothing_planned_is_not_good(tmp_path: Path) -> None:
    """0 of 0 is held, and said to be nothing."""
    ledger = ledger_of(tmp_path / "ledger", Story(RUN).plan((), {}).end().close())
    made = page_of(ledger)
    assert made.document["headline"]["word"] == "HELD"
    assert "0 of 0" in made.html.decode()


def test_every_word_of_the_first_screen(ledger: Ledger, page: Page) -> None:
    """PROCEED stands on what the gate lets through, and on nothing else."""
    said = page.document["headline"]
    assert (said["word"], said["tone"]) == ("PROCEED", "passed")
    assert said["sentence"] == "4 of 5 planned passed, 1 not available"
    failed = page_of(ledger, "before").document["headline"]
    assert failed["word"] == "HELD"
    assert "90325" in failed["sentence"]


def test_what_is_open_is_interim_and_held(tmp_path: Path) -> None:
    story = Story(RUN).plan().made(GATE)
    made = page_of(ledger_of(tmp_path / "ledger", story))
    assert (made.document["kind"], made.document["headline"]["word"]) == ("interim", "HELD")
    assert check_page(made.html, TRUST)
    assert "Interim" in made.html.decode()


def test_without_a_key_it_says_so(tmp_path: Path) -> None:
    made = page_of(ledger_of(tmp_path / "ledger", good(), signed=False))
    assert not made.signed
    assert "The log has no key" in made.html.decode()
    with pytest.raises(IntegrityError, match="not signed"):
        check_page(made.html, TRUST)


def test_it_is_of_one_thing(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="one thing"):
        make_page(ledger, Asked())
    with pytest.raises(UsageError, match="no run"):
        make_page(ledger, Asked(run_id="nobody"))
